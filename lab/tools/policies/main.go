// Command kube-network-policies lets the new connections of a node's pods through, or does not, as
// the cluster's network policies say.
//
// The kernel asks it by a queue, once a connection, and drops what nobody answers for. What a policy
// means is the business of Kubernetes' own library. That one runs as a pod, which has an account;
// here it is told how to reach the cluster, and whose an address is that the API server has not heard
// of yet.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"os/signal"
	"path/filepath"
	"syscall"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/kube-network-policies/pkg/networkpolicy"
)

// nobody is a node that no pod is on. Of the pods of a named one the library has rules of its own,
// where the kernel has CONFIG_NFT_QUEUE, and complaints at each change of a pod, where it has not.
const nobody = "/"

func run() error {
	kubeconfig := flag.String("kubeconfig", "", "how to reach the API server")
	queue := flag.Int("queue", 0, "the number of the queue, from 1 to 65535")
	cni := flag.String("cni", "", "where the pod network's plugins keep their records")
	network := flag.String("network", "", "what the pod network is called in them")
	flag.Parse()
	if *kubeconfig == "" || *network == "" || !filepath.IsAbs(*cni) {
		return errors.New("--kubeconfig, --network and an absolute --cni are needed")
	}
	if *queue < 1 || *queue > 0xffff {
		return errors.New("--queue must be from 1 to 65535")
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	factory := informers.NewSharedInformerFactory(client, 0)
	found := finder{client: client, records: records{directory: *cni, network: *network}}
	judge, err := networkpolicy.NewController(
		client,
		factory.Networking().V1().NetworkPolicies(),
		factory.Core().V1().Namespaces(),
		podInformer{factory.Core().V1().Pods(), found},
		// These are for policies of administrators, of which the lab's cluster has no definitions.
		nil, nil, nil, nil,
		networkpolicy.Config{QueueID: *queue, NodeName: nobody},
	)
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	return judge.Run(ctx)
}

func main() {
	if err := run(); err != nil {
		log.Fatal("kube-network-policies: ", err)
	}
}
