// Somebody else's program in TypeScript, which `aegis` rolls back without knowing it.
//
// What its Python sibling in tests/e2e/foreign has, and what this SDK has besides: a transform of
// the whole stack, hooks, resource references, a stash, secrets in objects as this SDK wraps them,
// aliases that the Kubernetes SDK adds by itself. The setting `version` says which release it is.
import * as kubernetes from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

const config = new pulumi.Config();
const home = config.require("namespace");
const version = config.require("version");
const image = config.require("image");
const password = config.requireSecret("password");
const first = version === "v1";
const group = `${home}.example.com`;
const labels = { app: "web" };

pulumi.runtime.registerResourceTransform((args) => {
    const metadata = args.props.metadata || {};
    // With a transform this SDK leaves no provider the choice to delete what is replaced first,
    // which those with a name of their own need.
    if (args.type !== "kubernetes:core/v1:ConfigMap" || metadata.name) {
        return undefined;
    }
    return {
        props: {
            ...args.props,
            metadata: { ...metadata, labels: { ...metadata.labels, "made-by": "transform" } },
        },
        opts: args.opts,
    };
});

const namespace = new kubernetes.core.v1.Namespace("home", { metadata: { name: home } });
const cluster = new kubernetes.Provider("cluster", {
    enableServerSideApply: true,
    namespace: home,
});

function meta(more: object = {}) {
    return { namespace: namespace.metadata.name, ...more };
}

class Settings extends pulumi.ComponentResource {
    public readonly plain: kubernetes.core.v1.ConfigMap;
    public readonly secret: kubernetes.core.v1.Secret;

    constructor(name: string, opts: pulumi.ComponentResourceOptions) {
        super("foreign:app:Settings", name, { version, login: { user: "web", password } }, opts);
        this.plain = new kubernetes.core.v1.ConfigMap(
            `${name}-settings`,
            {
                metadata: meta(),
                immutable: true,
                data: { VERSION: version, MODE: first ? "simple" : "elaborate" },
            },
            { parent: this },
        );
        this.secret = new kubernetes.core.v1.Secret(
            `${name}-secret`,
            {
                metadata: meta(),
                stringData: {
                    PASSWORD: password,
                    URL: pulumi.interpolate`postgres://web:${password}@db/web`,
                },
            },
            { parent: this },
        );
        this.registerOutputs({ plain: this.plain, password, nothing: undefined, empty: null });
    }
}

class Web extends pulumi.ComponentResource {
    public readonly deployment: kubernetes.apps.v1.Deployment;

    constructor(name: string, opts: pulumi.ComponentResourceOptions) {
        super("foreign:app:Web", name, { version, sizes: [1, 2.5, null, true] }, opts);
        const settings = new Settings(name, { parent: this });
        const created = new pulumi.ResourceHook("created", async () => undefined);
        const going = new pulumi.ResourceHook("going", async () => undefined);
        this.deployment = new kubernetes.apps.v1.Deployment(
            name,
            {
                metadata: meta({ labels }),
                spec: {
                    replicas: 1,
                    progressDeadlineSeconds: 30,
                    selector: { matchLabels: labels },
                    template: {
                        metadata: { labels },
                        spec: {
                            terminationGracePeriodSeconds: 1,
                            containers: [
                                {
                                    name: "web",
                                    image,
                                    command: ["python3", "-m", "http.server", "8000"],
                                    readinessProbe: {
                                        httpGet: { path: "/", port: 8000 },
                                        periodSeconds: 1,
                                    },
                                    envFrom: [
                                        { configMapRef: { name: settings.plain.metadata.name } },
                                        { secretRef: { name: settings.secret.metadata.name } },
                                    ],
                                },
                            ],
                        },
                    },
                },
            },
            {
                parent: this,
                dependsOn: settings,
                customTimeouts: { create: "2m", update: first ? "2m" : "3m", delete: "1h30m" },
                additionalSecretOutputs: ["status"],
                hooks: { afterCreate: [created], beforeDelete: [going] },
                hideDiffs: ["metadata.labels"],
            },
        );
        new kubernetes.core.v1.Service(
            name,
            {
                metadata: meta({ annotations: { "pulumi.com/skipAwait": "true" } }),
                spec: { selector: labels, ports: [{ port: 80, targetPort: 8000 }] },
            },
            { parent: this, deletedWith: namespace, replaceOnChanges: ["spec.type"] },
        );
        this.registerOutputs({ deployment: this.deployment });
    }
}

// By the default provider, with the engine's own name.
const guarded = new kubernetes.core.v1.ConfigMap(
    "guarded",
    { metadata: meta(), data: { kept: "always" } },
    { protect: true },
);
new kubernetes.core.v1.ConfigMap(
    "tuned",
    { metadata: meta({ name: "tuned" }), data: { since: version } },
    { ignoreChanges: first ? ["data"] : [] },
);
new kubernetes.core.v1.ConfigMap(
    "triggered",
    { metadata: meta(), data: { same: "always" } },
    {
        replacementTrigger: first ? "one" : { two: [2] },
        replaceWith: [guarded],
        deleteBeforeReplace: true,
    },
);
// Renamed twice: in a version before the first, and in the second.
new kubernetes.core.v1.ConfigMap(
    first ? "flags" : "features",
    { metadata: meta({ name: "features" }), data: { fast: first ? "yes" : "no" } },
    { aliases: [{ name: first ? "switches" : "flags" }] },
);
if (first) {
    new kubernetes.core.v1.ConfigMap("legacy", { metadata: meta({ name: "legacy" }) });
    // Gone from the second release, but not from the cluster.
    new kubernetes.core.v1.ConfigMap(
        "souvenir",
        { metadata: meta({ name: "souvenir" }), data: { from: version } },
        { retainOnDelete: true },
    );
} else {
    new kubernetes.core.v1.ConfigMap("novelty", { metadata: meta(), data: { now: version } });
}
const given = kubernetes.core.v1.ServiceAccount.get("given", "default/default");
const stash = new pulumi.Stash("stash", { input: { since: version, token: password } });

const definition = new kubernetes.apiextensions.v1.CustomResourceDefinition("widgets", {
    metadata: { name: `widgets.${group}` },
    spec: {
        group,
        scope: "Namespaced",
        names: { plural: "widgets", singular: "widget", kind: "Widget" },
        versions: [
            {
                name: "v1",
                served: true,
                storage: true,
                schema: {
                    openAPIV3Schema: {
                        type: "object",
                        "x-kubernetes-preserve-unknown-fields": true,
                    } as object,
                },
            },
        ],
    },
});
new kubernetes.apiextensions.CustomResource(
    "widget",
    {
        apiVersion: `${group}/v1`,
        kind: "Widget",
        metadata: meta({ name: "widget" }),
        spec: {
            size: first ? 1 : 2,
            login: { user: "web", token: password.apply((value) => `token-${value}`) },
            whole: pulumi.secret({ deep: [{ token: password }] }),
        },
    },
    { dependsOn: [definition] },
);

const web = new Web("web", { providers: { kubernetes: cluster } });
new kubernetes.batch.v1.Job(
    "migrate",
    {
        metadata: meta(),
        spec: {
            template: {
                spec: {
                    restartPolicy: "Never",
                    containers: [
                        { name: "migrate", image, command: ["python3", "-c", version.slice(1)] },
                    ],
                },
            },
            backoffLimit: first ? 1 : 2,
        },
    },
    { dependsOn: [web], deleteBeforeReplace: true },
);

export const release = version;
export const login = { user: "web", password };
export const deployment = web.deployment.metadata.name;
export const account = given.metadata.name;
export const stashed = stash.output;
