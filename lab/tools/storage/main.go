// Command storage makes volumes for claims out of directories of the lab's one node.
//
// It is a stand-in for a storage driver: a volume is a directory, and its size is not enforced.
// When a claim is made and forgotten is Kubernetes' own library's business.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

const hostname = "kubernetes.io/hostname"

type directories struct {
	root, node string
}

// Provision makes a directory, once however often it is asked for the same volume.
func (it directories) Provision(
	_ context.Context, asked controller.ProvisionOptions,
) (*core.PersistentVolume, controller.ProvisioningState, error) {
	path := filepath.Join(it.root, asked.PVName)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	here := core.NodeSelectorRequirement{
		Key: hostname, Operator: core.NodeSelectorOpIn, Values: []string{it.node},
	}
	term := core.NodeSelectorTerm{MatchExpressions: []core.NodeSelectorRequirement{here}}
	volume := &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: asked.PVName},
		Spec: core.PersistentVolumeSpec{
			AccessModes:                   asked.PVC.Spec.AccessModes,
			PersistentVolumeReclaimPolicy: *asked.StorageClass.ReclaimPolicy,
			Capacity: core.ResourceList{
				core.ResourceStorage: asked.PVC.Spec.Resources.Requests[core.ResourceStorage],
			},
			PersistentVolumeSource: core.PersistentVolumeSource{
				Local: &core.LocalVolumeSource{Path: path},
			},
			NodeAffinity: &core.VolumeNodeAffinity{
				Required: &core.NodeSelector{NodeSelectorTerms: []core.NodeSelectorTerm{term}},
			},
		},
	}
	return volume, controller.ProvisioningFinished, nil
}

// Delete removes the directory of a volume, and never one that is not a volume's.
func (it directories) Delete(_ context.Context, volume *core.PersistentVolume) error {
	path := filepath.Join(it.root, volume.Name)
	if volume.Spec.Local == nil || volume.Spec.Local.Path != path {
		return fmt.Errorf("volume %s is no directory in %s", volume.Name, it.root)
	}
	return os.RemoveAll(path)
}

func run() error {
	name := flag.String("name", "", "the provisioner's name, as storage classes have it")
	kubeconfig := flag.String("kubeconfig", "", "how to reach the API server")
	root := flag.String("directory", "", "where the volumes are")
	node := flag.String("node", "", "the node that has the directory")
	flag.Parse()
	if *name == "" || *kubeconfig == "" || *node == "" || !filepath.IsAbs(*root) {
		return errors.New("--name, --kubeconfig, --node and an absolute --directory are needed")
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
	made := controller.NewProvisionController(
		ctx, client, *name, directories{root: *root, node: *node},
		// There is one, and it is known by its process.
		controller.LeaderElection(false),
	)
	go made.Run(ctx)
	// It would go on with what it does for ever; nothing that it does is left half done.
	<-ctx.Done()
	return nil
}

func main() {
	if err := run(); err != nil {
		log.Fatal("storage: ", err)
	}
}
