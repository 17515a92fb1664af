package merge

import (
	"fmt"
	"strings"

	"mergescope/loader"
)

// lintModel checks what concerns the checkpoint alone.
func (p *Project) lintModel() []Alert {
	var out []Alert
	if method, _ := p.Model.Config.Quantization["quant_method"].(string); method != "" && method != "bitsandbytes" {
		out = append(out, newAlert(Error, CodeUnsupported, "", otherMethod(method)))
	}
	var broken, ragged, narrow, avx tally
	for _, w := range p.Model.Weights {
		if w.Problem != nil {
			broken.add(w.Problem.Error(), tensorPlace(w.Data))
			continue
		}
		if w.State == nil || w.State.Blocksize == 0 || w.Cols()%w.State.Blocksize == 0 {
			continue
		}
		t := &avx
		switch {
		case w.Cols()%16 != 0 || w.State.Blocksize >= 2048:
			t = &ragged
		case w.Cols() < w.State.Blocksize:
			t = &narrow
		}
		t.add(fmt.Sprintf("%s: in_features %d, blocksize %d", w.Name, w.Cols(), w.State.Blocksize), tensorPlace(w.Data))
	}
	out = append(out, broken.alert(Error, CodeUnsupported, "weights that cannot be decoded: %d, first %s")...)
	// The scale's index: bitsandbytes csrc/cpu_ops.cpp since 0.49.0.
	out = append(out, narrow.alert(Warning, CodeRagged, "weights with rows shorter than a block: %d, first %s; "+
		"on AVX-512 CPUs bitsandbytes takes the scale of block 0 for every row, so it infers and merges with wrong weights; here blocks are read as they are stored")...)
	out = append(out, avx.alert(Warning, CodeRagged, "weights with blocks that straddle rows: %d, first %s; "+
		"on AVX-512 CPUs bitsandbytes counts blocks per row and takes wrong scales, so it infers and merges with wrong weights; here blocks are read as they are stored")...)
	out = append(out, ragged.alert(Info, CodeRagged, "weights with blocks that straddle rows: %d, first %s; read right everywhere, but a row shares scales with the next")...)
	return out
}

// otherMethod says what PEFT does with a base quantized by another library.
func otherMethod(method string) string {
	s := fmt.Sprintf("the model is quantized by %s; only bitsandbytes checkpoints are merged here", method)
	switch strings.ToLower(method) {
	case "gptq":
		s += `. PEFT: "Cannot merge LORA layers when the model is gptq quantized"`
	case "eetq":
		s += `. PEFT: "Merging LoRA layers is not supported for Eetq layers."`
	case "intel-neural-compressor", "inc":
		s += `. PEFT: "Merging LoRA with INC layers is not yet implemented"`
	case "awq", "aqlm":
		s += ". PEFT: NotImplementedError, its layers for this base have no merge"
	}
	return s
}

// embeddingNames are the last path components of input and output embeddings,
// which a checkpoint with tie_word_embeddings stores once.
var embeddingNames = map[string]bool{
	"embed_tokens": true, "wte": true, "word_embeddings": true, "shared": true, "embed_in": true, "tok_embeddings": true,
	"lm_head": true, "embed_out": true,
}

func isEmbedding(module string) bool {
	return embeddingNames[module[strings.LastIndexByte(module, '.')+1:]]
}

// lintTied warns where an adapter changes one of two tied weights.
func (p *Project) lintTied(plan Plan, layers []Layer) []Alert {
	if !p.Model.Config.TieEmbeddings {
		return nil
	}
	var out []Alert
	warn := func(module, adapter string, at Place) {
		out = append(out, newAlert(Warning, CodeTied, module, fmt.Sprintf("%s changes %s, but config.json has tie_word_embeddings: "+
			"input and output embedding are one tensor, so the change reaches both although it was trained on one", adapter, module)).at(at))
	}
	for _, l := range layers {
		for _, s := range l.Steps {
			if isEmbedding(l.Weight.Name) {
				warn(l.Weight.Name, s.Adapter.Name, tensorPlace(s.Module.A))
			}
		}
	}
	for _, a := range p.planned(plan) {
		for _, r := range a.Others {
			if m := strings.TrimSuffix(r.Target, ".weight"); (r.Kind == loader.KindTokens || r.Kind == loader.KindUnknown) && m != "" && isEmbedding(m) {
				warn(m, a.Name, tensorPlace(r.Tensor))
			}
		}
	}
	return out
}
