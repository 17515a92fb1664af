package main

import (
	"embed"
	"io/fs"
)

//go:embed testdata/demo/base-nf4 testdata/demo/base-int8
//go:embed testdata/demo/adapter-gocode testdata/demo/adapter-gocode-mid
//go:embed testdata/demo/adapter-gocode-light testdata/demo/adapter-broken
//go:embed testdata/demo/eval.txt testdata/demo/eval-domain.txt testdata/demo/LICENSE-go.txt
var demoFiles embed.FS

// demoFS returns the embedded demo with its checkpoints and adapters at the root.
func demoFS() fs.FS {
	sub, err := fs.Sub(demoFiles, "testdata/demo")
	if err != nil {
		panic("main: internal error: the embedded demo has no root")
	}
	return sub
}
