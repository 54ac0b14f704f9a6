package main

import (
	"reflect"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// What the Kubernetes SDK for Go asks for with each of its resources.
const kubernetesVersion = "4.32.0"

// failure carries an error out of a registration, for main to return.
type failure struct{ error }

// Object is an object of whatever kind.
type Object struct {
	pulumi.CustomResourceState
	Metadata pulumi.MapOutput `pulumi:"metadata"`
}

// ConfigMapArgs are a ConfigMap's or a Secret's, as the SDK types them.
type ConfigMapArgs struct {
	ApiVersion pulumi.StringPtrInput
	Kind       pulumi.StringPtrInput
	Metadata   pulumi.MapInput
	Immutable  pulumi.BoolPtrInput
	Data       pulumi.StringMapInput
	StringData pulumi.StringMapInput
}

type configMapArgs struct {
	ApiVersion *string           `pulumi:"apiVersion"`
	Kind       *string           `pulumi:"kind"`
	Metadata   map[string]any    `pulumi:"metadata"`
	Immutable  *bool             `pulumi:"immutable"`
	Data       map[string]string `pulumi:"data"`
	StringData map[string]string `pulumi:"stringData"`
}

// ElementType says what the arguments become.
func (ConfigMapArgs) ElementType() reflect.Type { return reflect.TypeFor[configMapArgs]() }

// ProviderArgs are a provider's.
type ProviderArgs struct {
	EnableServerSideApply pulumi.BoolPtrInput
	Namespace             pulumi.StringPtrInput
}

type providerArgs struct {
	EnableServerSideApply *bool   `pulumi:"enableServerSideApply"`
	Namespace             *string `pulumi:"namespace"`
}

// ElementType says what the arguments become.
func (ProviderArgs) ElementType() reflect.Type { return reflect.TypeFor[providerArgs]() }

func (p *program) provider(name string, args *ProviderArgs) pulumi.ProviderResource {
	provider := &struct{ pulumi.ProviderResourceState }{}
	p.must(p.ctx.RegisterResource("pulumi:providers:kubernetes", name, args, provider,
		pulumi.Version(kubernetesVersion)))
	return provider
}

// object registers an object; its kind is written "apps/v1:Deployment".
func (p *program) object(
	kind, name string, args pulumi.Map, opts ...pulumi.ResourceOption,
) *Object {
	api, short, _ := strings.Cut(kind, ":")
	args["apiVersion"] = pulumi.StringPtr(strings.TrimPrefix(api, "core/"))
	args["kind"] = pulumi.StringPtr(short)
	object := &Object{}
	p.must(p.ctx.RegisterResource("kubernetes:"+kind, name, args, object, p.versioned(opts)...))
	return object
}

func (p *program) configMap(
	name string, metadata pulumi.Map, data pulumi.StringMapInput, opts ...pulumi.ResourceOption,
) *Object {
	return p.typed("ConfigMap", name, &ConfigMapArgs{Metadata: p.meta(metadata), Data: data}, opts)
}

func (p *program) typed(
	kind, name string, args *ConfigMapArgs, opts []pulumi.ResourceOption,
) *Object {
	args.ApiVersion, args.Kind = pulumi.StringPtr("v1"), pulumi.StringPtr(kind)
	object := &Object{}
	p.must(p.ctx.RegisterResource("kubernetes:core/v1:"+kind, name, args, object,
		p.versioned(opts)...))
	return object
}

func (p *program) existing(kind, name, id string) *Object {
	object := &Object{}
	p.must(p.ctx.ReadResource("kubernetes:"+kind, name, pulumi.ID(id), nil, object,
		p.versioned(nil)...))
	return object
}

func (p *program) versioned(opts []pulumi.ResourceOption) []pulumi.ResourceOption {
	return append([]pulumi.ResourceOption{pulumi.Version(kubernetesVersion)}, opts...)
}

func (p *program) must(err error) {
	if err != nil {
		panic(failure{err})
	}
}
