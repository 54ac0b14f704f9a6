package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

const patience = time.Second

// records are what the pod network's plugins wrote down of the pods on this node.
type records struct {
	directory, network string
}

// owner returns the namespace and the name of the pod that has an address now.
//
// They are written before anything of the pod runs. The API server hears of the address a second or
// so after its containers started, and until then a pod would have nobody's rights and duties
// (https://github.com/kubernetes/kubernetes/issues/85966).
func (it records) owner(address string) (namespace, name string, found bool) {
	lease, err := os.ReadFile(filepath.Join(it.directory, "networks", it.network, address))
	if err != nil {
		return "", "", false
	}
	// The sandbox, and its interface.
	words := strings.Fields(string(lease))
	path := filepath.Join(it.directory, "results", it.network+"-"+strings.Join(words, "-"))
	text, err := os.ReadFile(path)
	if err != nil {
		return "", "", false
	}
	var result struct {
		Arguments [][2]string `json:"cniArgs"`
	}
	if json.Unmarshal(text, &result) != nil {
		return "", "", false
	}
	for _, pair := range result.Arguments {
		switch pair[0] {
		case "K8S_POD_NAMESPACE":
			namespace = pair[1]
		case "K8S_POD_NAME":
			name = pair[1]
		}
	}
	return namespace, name, namespace != "" && name != ""
}

// finder finds the pod that an address is of.
type finder struct {
	client  kubernetes.Interface
	records records
}

// local returns the pod of this node that has an address, nil when none has.
func (it finder) local(store cache.Store, address string) interface{} {
	namespace, name, found := it.records.owner(address)
	if !found {
		return nil
	}
	if pod, known, err := store.GetByKey(namespace + "/" + name); err == nil && known {
		return pod
	}
	// After an outage of the API server others may hear of a pod half a minute earlier.
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	pod, err := it.client.CoreV1().Pods(namespace).Get(ctx, name, meta.GetOptions{})
	if err != nil {
		// What holds for every pod of its namespace holds for it.
		return &core.Pod{ObjectMeta: meta.ObjectMeta{Namespace: namespace, Name: name}}
	}
	return pod
}

// podInformer is an informer of pods that also finds them by an address nobody has told it.
type podInformer struct {
	coreinformers.PodInformer
	finder finder
}

func (it podInformer) Informer() cache.SharedIndexInformer {
	return sharedInformer{it.PodInformer.Informer(), it.finder}
}

type sharedInformer struct {
	cache.SharedIndexInformer
	finder finder
}

func (it sharedInformer) GetIndexer() cache.Indexer {
	return indexer{it.SharedIndexInformer.GetIndexer(), it.finder}
}

type indexer struct {
	cache.Indexer
	finder finder
}

// ByIndex finds pods by an address, which is the one index that is asked for.
func (it indexer) ByIndex(index, address string) ([]interface{}, error) {
	if pod := it.finder.local(it.Indexer, address); pod != nil {
		return []interface{}{pod}, nil
	}
	return it.Indexer.ByIndex(index, address)
}
