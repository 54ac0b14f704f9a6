// Somebody else's program in Go, which `aegis` rolls back without knowing it.
//
// What its Python sibling in tests/e2e/foreign has, and what this SDK has besides: typed arguments
// and maps, a transform of the whole stack, hooks, resource references, a stash. The setting
// `version` says which release it is. The Kubernetes SDK takes minutes to compile, so its resources
// are registered as it registers them, by the few lines of objects.go.
package main

import (
	"context"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"
)

type program struct {
	ctx       *pulumi.Context
	home      string
	version   string
	image     string
	password  pulumi.StringOutput
	namespace *Object
}

func main() {
	pulumi.Run(func(ctx *pulumi.Context) error {
		settings := config.New(ctx, "")
		p := &program{
			ctx:      ctx,
			home:     settings.Require("namespace"),
			version:  settings.Require("version"),
			image:    settings.Require("image"),
			password: settings.RequireSecret("password"),
		}
		if err := ctx.RegisterResourceTransform(labelled); err != nil {
			return err
		}
		return p.run()
	})
}

func labelled(_ context.Context, args *pulumi.ResourceTransformArgs) *pulumi.ResourceTransformResult {
	metadata, _ := args.Props["metadata"].(pulumi.Map)
	// With a transform this SDK loses a replacement trigger.
	if args.Type != "kubernetes:core/v1:ConfigMap" || args.Name == "triggered" || metadata["name"] != nil {
		return nil
	}
	changed := pulumi.Map{"labels": pulumi.StringMap{"made-by": pulumi.String("transform")}}
	for key, value := range metadata {
		changed[key] = value
	}
	props := pulumi.Map{}
	for key, value := range args.Props {
		props[key] = value
	}
	props["metadata"] = changed
	return &pulumi.ResourceTransformResult{Props: props, Opts: args.Opts}
}

func (p *program) first() bool { return p.version == "v1" }

func (p *program) either(first, second string) string {
	if p.first() {
		return first
	}
	return second
}

func (p *program) meta(more pulumi.Map) pulumi.Map {
	metadata := pulumi.Map{"namespace": p.namespace.Metadata.MapIndex(pulumi.String("name"))}
	for key, value := range more {
		metadata[key] = value
	}
	return metadata
}

func (p *program) run() (err error) {
	defer func() {
		if failed, ok := recover().(failure); ok {
			err = failed.error
		}
	}()
	p.namespace = p.object("core/v1:Namespace", "home",
		pulumi.Map{"metadata": pulumi.Map{"name": pulumi.String(p.home)}})
	cluster := p.provider("cluster", &ProviderArgs{
		EnableServerSideApply: pulumi.BoolPtr(true),
		Namespace:             pulumi.StringPtr(p.home),
	})

	// By the default provider, with the engine's own name.
	guarded := p.configMap("guarded", nil, pulumi.StringMap{"kept": pulumi.String("always")},
		pulumi.Protect(true))
	var ignored []string
	if p.first() {
		ignored = []string{"data"}
	}
	p.configMap("tuned", pulumi.Map{"name": pulumi.String("tuned")},
		pulumi.StringMap{"since": pulumi.String(p.version)}, pulumi.IgnoreChanges(ignored))
	var trigger pulumi.Input = pulumi.Map{"two": pulumi.IntArray{pulumi.Int(2)}}
	if p.first() {
		trigger = pulumi.String("one")
	}
	p.configMap("triggered", nil, pulumi.StringMap{"same": pulumi.String("always")},
		pulumi.ReplacementTrigger(trigger),
		pulumi.ReplaceWith([]pulumi.Resource{guarded}),
		pulumi.DeleteBeforeReplace(true))
	// Renamed twice: in a version before the first, and in the second.
	p.configMap(p.either("flags", "features"), pulumi.Map{"name": pulumi.String("features")},
		pulumi.StringMap{"fast": pulumi.String(p.either("yes", "no"))},
		pulumi.Aliases([]pulumi.Alias{{Name: pulumi.String(p.either("switches", "flags"))}}))
	if p.first() {
		p.configMap("legacy", pulumi.Map{"name": pulumi.String("legacy")}, nil)
		// Gone from the second release, but not from the cluster.
		p.configMap("souvenir", pulumi.Map{"name": pulumi.String("souvenir")},
			pulumi.StringMap{"from": pulumi.String(p.version)}, pulumi.RetainOnDelete(true))
	} else {
		p.configMap("novelty", nil, pulumi.StringMap{"now": pulumi.String(p.version)})
	}
	given := p.existing("core/v1:ServiceAccount", "given", "default/default")
	stash, err := pulumi.NewStash(p.ctx, "stash", &pulumi.StashArgs{
		Input: pulumi.Map{"since": pulumi.String(p.version), "token": p.password},
	})
	if err != nil {
		return err
	}
	p.widgets()
	web, err := p.web("web", pulumi.Providers(cluster))
	if err != nil {
		return err
	}
	p.job(web)

	p.ctx.Export("release", pulumi.String(p.version))
	p.ctx.Export("login", pulumi.Map{"user": pulumi.String("web"), "password": p.password})
	p.ctx.Export("deployment", web.deployment.Metadata.MapIndex(pulumi.String("name")))
	p.ctx.Export("account", given.Metadata.MapIndex(pulumi.String("name")))
	p.ctx.Export("stashed", stash.Output)
	return nil
}

func (p *program) widgets() {
	group := p.home + ".example.com"
	definition := p.object("apiextensions.k8s.io/v1:CustomResourceDefinition", "widgets", pulumi.Map{
		"metadata": pulumi.Map{"name": pulumi.String("widgets." + group)},
		"spec": pulumi.Map{
			"group": pulumi.String(group),
			"scope": pulumi.String("Namespaced"),
			"names": pulumi.StringMap{
				"plural":   pulumi.String("widgets"),
				"singular": pulumi.String("widget"),
				"kind":     pulumi.String("Widget"),
			},
			"versions": pulumi.MapArray{pulumi.Map{
				"name":    pulumi.String("v1"),
				"served":  pulumi.Bool(true),
				"storage": pulumi.Bool(true),
				"schema": pulumi.Map{"openAPIV3Schema": pulumi.Map{
					"type":                                 pulumi.String("object"),
					"x-kubernetes-preserve-unknown-fields": pulumi.Bool(true),
				}},
			}},
		},
	})
	size := 2
	if p.first() {
		size = 1
	}
	p.object(group+"/v1:Widget", "widget", pulumi.Map{
		"metadata": p.meta(pulumi.Map{"name": pulumi.String("widget")}),
		"spec": pulumi.Map{
			"size": pulumi.Int(size),
			"login": pulumi.Map{
				"user":  pulumi.String("web"),
				"token": pulumi.Sprintf("token-%s", p.password),
			},
			"whole": pulumi.ToSecret(pulumi.Map{
				"deep": pulumi.MapArray{pulumi.Map{"token": p.password}},
			}),
		},
	}, pulumi.DependsOn([]pulumi.Resource{definition}))
}

func (p *program) job(web *Web) {
	limit := 2
	if p.first() {
		limit = 1
	}
	p.object("batch/v1:Job", "migrate", pulumi.Map{
		"metadata": p.meta(nil),
		"spec": pulumi.Map{
			"template": pulumi.Map{"spec": pulumi.Map{
				"restartPolicy": pulumi.String("Never"),
				"containers": pulumi.MapArray{pulumi.Map{
					"name":    pulumi.String("migrate"),
					"image":   pulumi.String(p.image),
					"command": pulumi.ToStringArray([]string{"python3", "-c", p.version[1:]}),
				}},
			}},
			"backoffLimit": pulumi.Int(limit),
		},
	}, pulumi.DependsOn([]pulumi.Resource{web}), pulumi.DeleteBeforeReplace(true))
}
