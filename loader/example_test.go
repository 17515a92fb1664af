package loader_test

import (
	"fmt"
	"log"
	"os"

	"mergescope/loader"
)

func Example() {
	source := loader.Source{Demo: os.DirFS("../testdata/demo"), Cache: loader.HubCache(os.Getenv)}
	model, err := source.Checkpoint("demo")
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	adapter, err := source.Adapter("demo:gocode-light")
	if err != nil {
		log.Fatal(err)
	}
	defer adapter.Close()

	w := model.Weight("model.layers.0.self_attn.v_proj")
	m := adapter.Module(w.Name)
	fmt.Println(w.Name, w.Format, w.Shape, "blocks of", w.State.Blocksize)
	fmt.Println("lora_A", m.A.Shape, "lora_B", m.B.Shape, "scale", m.Scale)

	codes := make([]byte, 4)
	if err := w.Data.ReadFull(codes, 0); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("first codes % x\n", codes)
	// Output:
	// model.layers.0.self_attn.v_proj nf4 [64 192] blocks of 64
	// lora_A [8 192] lora_B [64 8] scale 2
	// first codes cc c1 5d 16
}

func ExampleTree() {
	source := loader.Source{Demo: os.DirFS("../testdata/demo")}
	model, err := source.Checkpoint("demo:base-int8")
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	for _, n := range loader.Tree(model.Weights) {
		fmt.Println(n.Name, len(n.Children))
	}
	// Output:
	// lm_head 0
	// model.embed_tokens 0
	// model.layers.0 7
	// model.layers.1 7
	// model.layers.2 7
	// model.layers.3 7
}

func ExampleSource_Checkpoint_error() {
	_, err := loader.Source{}.Checkpoint("../testdata/demo/base-nf5")
	fmt.Println(err)
	// Output:
	// ../testdata/demo/base-nf5: no such file or directory; did you mean ../testdata/demo/base-nf4?
}
