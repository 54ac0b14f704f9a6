package main

import "github.com/pulumi/pulumi/sdk/v3/go/pulumi"

// Settings is a component in a component: what the service reads.
type Settings struct {
	pulumi.ResourceState
	plain, secret *Object
}

// Web is the service.
type Web struct {
	pulumi.ResourceState
	deployment *Object
}

func (p *program) settings(name string, opts ...pulumi.ResourceOption) (*Settings, error) {
	it := &Settings{}
	err := p.ctx.RegisterComponentResourceV2("foreign:app:Settings", name, pulumi.Map{
		"version": pulumi.String(p.version),
		"login":   pulumi.Map{"user": pulumi.String("web"), "password": p.password},
	}, it, opts...)
	if err != nil {
		return nil, err
	}
	it.plain = p.typed("ConfigMap", name+"-settings", &ConfigMapArgs{
		Metadata:  p.meta(nil),
		Immutable: pulumi.BoolPtr(true),
		Data: pulumi.ToStringMap(map[string]string{
			"VERSION": p.version, "MODE": p.either("simple", "elaborate"),
		}),
	}, []pulumi.ResourceOption{pulumi.Parent(it)})
	it.secret = p.typed("Secret", name+"-secret", &ConfigMapArgs{
		Metadata: p.meta(nil),
		StringData: pulumi.StringMap{
			"PASSWORD": p.password,
			"URL":      pulumi.Sprintf("postgres://web:%s@db/web", p.password),
		},
	}, []pulumi.ResourceOption{pulumi.Parent(it)})
	return it, p.ctx.RegisterResourceOutputs(it, pulumi.Map{
		"plain":    pulumi.NewResourceOutput(it.plain),
		"password": p.password,
		"empty":    pulumi.Any(nil),
	})
}

func (p *program) web(name string, opts ...pulumi.ResourceOption) (*Web, error) {
	it := &Web{}
	err := p.ctx.RegisterComponentResourceV2("foreign:app:Web", name, pulumi.Map{
		"version": pulumi.String(p.version),
		"sizes":   pulumi.Array{pulumi.Int(1), pulumi.Float64(2.5), pulumi.Bool(true)},
	}, it, opts...)
	if err != nil {
		return nil, err
	}
	settings, err := p.settings(name, pulumi.Parent(it))
	if err != nil {
		return nil, err
	}
	nothing := func(*pulumi.ResourceHookArgs) error { return nil }
	created, err := p.ctx.RegisterResourceHook("created", nothing, nil)
	if err != nil {
		return nil, err
	}
	going, err := p.ctx.RegisterResourceHook("going", nothing, nil)
	if err != nil {
		return nil, err
	}
	labels := pulumi.StringMap{"app": pulumi.String("web")}
	named := func(object *Object) pulumi.Map {
		return pulumi.Map{"name": object.Metadata.MapIndex(pulumi.String("name"))}
	}
	it.deployment = p.object("apps/v1:Deployment", name, pulumi.Map{
		"metadata": p.meta(pulumi.Map{"labels": labels}),
		"spec": pulumi.Map{
			"replicas":                pulumi.Int(1),
			"progressDeadlineSeconds": pulumi.Int(30),
			"selector":                pulumi.Map{"matchLabels": labels},
			"template": pulumi.Map{
				"metadata": pulumi.Map{"labels": labels},
				"spec": pulumi.Map{
					"terminationGracePeriodSeconds": pulumi.Int(1),
					"containers": pulumi.MapArray{pulumi.Map{
						"name":    pulumi.String("web"),
						"image":   pulumi.String(p.image),
						"command": pulumi.ToStringArray([]string{"python3", "-m", "http.server", "8000"}),
						"readinessProbe": pulumi.Map{
							"httpGet": pulumi.Map{
								"path": pulumi.String("/"), "port": pulumi.Int(8000),
							},
							"periodSeconds": pulumi.Int(1),
						},
						"envFrom": pulumi.MapArray{
							pulumi.Map{"configMapRef": named(settings.plain)},
							pulumi.Map{"secretRef": named(settings.secret)},
						},
					}},
				},
			},
		},
	},
		pulumi.Parent(it),
		pulumi.DependsOn([]pulumi.Resource{settings}),
		pulumi.Timeouts(&pulumi.CustomTimeouts{
			Create: "2m", Update: p.either("2m", "3m"), Delete: "1h30m",
		}),
		pulumi.AdditionalSecretOutputs([]string{"status"}),
		pulumi.ResourceHooks(&pulumi.ResourceHookBinding{
			AfterCreate:  []*pulumi.ResourceHook{created},
			BeforeDelete: []*pulumi.ResourceHook{going},
		}),
		pulumi.HideDiffs([]string{"metadata.labels"}))
	p.object("core/v1:Service", name, pulumi.Map{
		"metadata": p.meta(pulumi.Map{
			"annotations": pulumi.StringMap{"pulumi.com/skipAwait": pulumi.String("true")},
		}),
		"spec": pulumi.Map{
			"selector": labels,
			"ports": pulumi.MapArray{
				pulumi.Map{"port": pulumi.Int(80), "targetPort": pulumi.Int(8000)},
			},
		},
	}, pulumi.Parent(it), pulumi.DeletedWith(p.namespace),
		pulumi.ReplaceOnChanges([]string{"spec.type"}))
	return it, p.ctx.RegisterResourceOutputs(it, pulumi.Map{
		"deployment": pulumi.NewResourceOutput(it.deployment),
	})
}
