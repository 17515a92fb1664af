package loader

import (
	"fmt"
	"slices"
	"strings"

	"mergescope/quant"
)

// assembler sorts the tensors of a checkpoint into weights, their companions
// and the rest, by the names bitsandbytes gives them (nn/modules.py,
// functional.py).
type assembler struct {
	tensors []*Tensor
	byName  map[string]*Tensor
	used    map[*Tensor]bool
	weights []*Weight
	param   map[string]*Weight
}

// assemble does all of it. Only the small JSON of each 4-bit weight and the
// weight_format byte of each int8 weight are read.
func assemble(tensors []*Tensor, byName map[string]*Tensor) (weights []*Weight, loose []*Tensor, err error) {
	a := &assembler{tensors, byName, map[*Tensor]bool{}, nil, map[string]*Weight{}}
	if err := a.fourBit(); err != nil {
		return nil, nil, err
	}
	a.strays()
	if err := a.int8s(); err != nil {
		return nil, nil, err
	}
	a.plain()
	a.biases()
	slices.SortFunc(a.weights, func(x, y *Weight) int { return NaturalCompare(x.Param, y.Param) })
	for _, t := range tensors {
		if !a.used[t] {
			loose = append(loose, t)
		}
	}
	slices.SortFunc(loose, func(x, y *Tensor) int { return NaturalCompare(x.Name, y.Name) })
	return a.weights, loose, nil
}

func (a *assembler) add(w *Weight) *Weight {
	w.Name = moduleName(w.Param)
	a.used[w.Data] = true
	a.weights = append(a.weights, w)
	a.param[w.Param] = w
	return w
}

// take claims a companion of w, nil if there is none.
func (a *assembler) take(w *Weight, name string) *Tensor {
	t := a.byName[name]
	if t == nil || a.used[t] {
		return nil
	}
	a.used[t] = true
	w.Companions = append(w.Companions, t)
	return t
}

// fourBit finds 4-bit weights by their state's key, whatever the parameter is
// called: experts are bare parameters (nn/parametrize.py).
func (a *assembler) fourBit() error {
	for _, t := range a.tensors {
		param, kind, ok := strings.Cut(t.Name, StateMark)
		if !ok {
			continue
		}
		if w := a.param[param]; w != nil {
			a.take(w, t.Name)
			w.problem(t, "there should be exactly one quant_state, but %s is there too", w.State.JSON.Name)
			continue
		}
		data := a.byName[param]
		if data == nil || a.used[data] || a.used[t] {
			return t.errorAt(0, fmt.Errorf("the weight %s, which this describes, is missing or part of another", param))
		}
		w := a.add(&Weight{Param: param, Data: data, Shape: data.Shape})
		if err := a.state(w, kind); err != nil {
			return err
		}
	}
	return nil
}

// state decodes the quant_state of w. Faults of the content are w's Problem,
// the error is one of reading.
func (a *assembler) state(w *Weight, kind string) error {
	p := w.Param
	js := a.take(w, p+StateMark+kind)
	q := &QuantState{JSON: js}
	w.State = q
	if js.DType != "U8" || len(js.Shape) != 1 || js.Size > maxState {
		w.problem(js, "quant_state is %s %v, want U8 with at most %d bytes", js.DType, js.Shape, maxState)
	} else {
		text, err := js.Bytes()
		if err != nil {
			return err
		}
		parsed, err := ParseQuantState(text)
		if err != nil {
			w.problem(js, "quant_state: %w", err)
		} else {
			parsed.JSON = js
			q, w.State = parsed, parsed
			w.Format, w.Shape = q.Type, q.Shape
			if kind != q.Type.String() {
				w.problem(js, "quant_type is %s, but the name says %s", q.Type, kind)
			}
		}
	}
	q.Absmax = a.take(w, p+".absmax")
	q.QuantMap = a.take(w, p+".quant_map")
	q.NestedAbsmax = a.take(w, p+".nested_absmax")
	q.NestedMap = a.take(w, p+".nested_quant_map")
	if w.Problem == nil {
		q.check(w)
	}
	return nil
}

// storage lists the dtypes packed codes are stored as; the bytes are the same
// (bnb_4bit_quant_storage).
var storage = []DType{"U8", "I8", "F16", "BF16", "F32", "F64"}

// check compares the companions with what the state asks for.
func (q *QuantState) check(w *Weight) {
	numel := w.Numel()
	if !slices.Contains(storage, w.Data.DType) {
		w.problem(w.Data, "4-bit codes stored as %s", w.Data.DType)
	}
	if want := ceilDiv(numel, 2); w.Data.Size != want {
		w.problem(w.Data, "has %d bytes, shape %v needs %d", w.Data.Size, w.Shape, want)
	}
	blocks, absmax := q.Blocks(), DType("F32")
	if q.Nested {
		absmax = "U8"
	}
	w.companion(q.Absmax, "absmax", absmax, blocks)
	w.companion(q.QuantMap, "quant_map", "F32", 16)
	if q.Nested {
		w.companion(q.NestedAbsmax, "nested_absmax", "F32", ceilDiv(blocks, NestedBlocksize))
		w.companion(q.NestedMap, "nested_quant_map", "F32", 256)
		return
	}
	for _, t := range [...]*Tensor{q.NestedAbsmax, q.NestedMap} {
		if t != nil {
			w.problem(t, "the quant_state has no nested statistics")
		}
	}
}

// companion checks that t is there with n elements of a dtype.
func (w *Weight) companion(t *Tensor, what string, dtype DType, n int64) {
	switch {
	case t == nil:
		w.problem(w.Data, "quantization component %s is missing", what)
	case t.DType != dtype || t.Numel() != n:
		w.problem(t, "is %s %v, want %s with %d elements", t.DType, t.Shape, dtype, n)
	}
}

// strays handles what looks like part of a 4-bit weight but is not: tensors
// bitsandbytes would reject beside a state, and statistics without a state.
func (a *assembler) strays() {
	for _, t := range a.tensors {
		if a.used[t] {
			continue
		}
		for i := strings.LastIndexByte(t.Name, '.'); i > 0; i = strings.LastIndexByte(t.Name[:i], '.') {
			if w := a.param[t.Name[:i]]; w != nil {
				w.problem(t, "no component of a quant_state, but named like one")
			}
		}
		param, ok := strings.CutSuffix(t.Name, ".absmax")
		data := a.byName[param]
		if !ok || data == nil || a.used[data] {
			continue
		}
		w := a.add(&Weight{Param: param, Data: data, Shape: data.Shape})
		for _, c := range [...]string{".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map"} {
			a.take(w, param+c)
		}
		w.problem(data, "has block statistics but no quant_state.bitsandbytes__nf4 or __fp4")
	}
}

// int8s finds LLM.int8() weights: I8 with one SCB a row (nn/modules.py,
// Linear8bitLt).
func (a *assembler) int8s() error {
	for _, t := range a.tensors {
		if a.used[t] || t.DType != "I8" || !strings.HasSuffix(t.Name, ".weight") {
			continue
		}
		w := a.add(&Weight{Param: t.Name, Data: t, Shape: t.Shape, Format: quant.Int8})
		w.SCB = a.take(w, w.Name+".SCB")
		format := a.take(w, w.Name+".weight_format")
		switch {
		case w.SCB == nil:
			w.Format = quant.Unknown
			w.problem(t, "missing quantization component SCB")
		case len(t.Shape) != 2 || w.Numel() == 0:
			w.problem(t, "int8 weight of shape %v, want [out, in]", t.Shape)
		default:
			w.companion(w.SCB, "SCB", "F32", t.Shape[0])
		}
		if format == nil {
			continue
		}
		if format.Size != 1 {
			w.problem(format, "weight_format is %s %v, want one byte", format.DType, format.Shape)
			continue
		}
		v, err := format.Bytes()
		if err != nil {
			return err
		}
		if v[0] != 0 {
			w.problem(format, "weight_format %d: only 0, row, can be read", v[0])
		}
	}
	return nil
}

// plain takes the unquantized matrices, and lists as undecodable what is named
// like a weight but has a dtype no rule of this program applies to.
func (a *assembler) plain() {
	for _, t := range a.tensors {
		leaf := t.Name[strings.LastIndexByte(t.Name, '.')+1:]
		if a.used[t] || len(t.Shape) < 2 || leaf == "bias" {
			continue
		}
		f := formatOf(t.DType)
		if f == quant.Unknown && leaf != "weight" && leaf != "qweight" {
			continue
		}
		w := a.add(&Weight{Param: t.Name, Data: t, Shape: t.Shape, Format: f})
		if f == quant.Unknown {
			w.problem(t, "dtype %s is not one this program merges into", t.DType)
		} else if w.Numel() == 0 {
			w.problem(t, "shape %v is empty", t.Shape)
		}
	}
}

// biases gives each module's weight its bias.
func (a *assembler) biases() {
	for _, w := range a.weights {
		module, ok := strings.CutSuffix(w.Param, ".weight")
		b := a.byName[module+".bias"]
		if ok && b != nil && !a.used[b] && len(b.Shape) == 1 && formatOf(b.DType) != quant.Unknown {
			w.Bias = b
			a.used[b] = true
		}
	}
}
