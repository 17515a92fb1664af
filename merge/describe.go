package merge

import (
	"path"
	"slices"
	"strings"

	"mergescope/loader"
)

// stateSlack is how much longer than the input's a written quant state may be,
// in bytes: another dtype, and an offset printed with all its digits.
const stateSlack = 64

// tensorsOf lists what a file of the model holds after the merge, in the order
// of its header, or nil if the file stays as it is. Weights in kept stay as they
// are whatever their layer says.
func tensorsOf(model *loader.Checkpoint, f *loader.File, layers []Layer, extra []outTensor, kept map[string]bool) []outTensor {
	changed, made := map[string]outTensor{}, map[string][]outTensor{}
	for _, l := range layers {
		if !l.Copies() && !kept[l.Weight.Name] {
			changeLayer(changed, made, l)
		}
	}
	var added []outTensor
	for _, e := range extra {
		switch {
		case kept[e.owner]:
		case model.Tensor(e.name) != nil:
			changed[e.name] = e
		case home(model, e.name) == f:
			added = append(added, e)
		}
	}
	touched := len(added) > 0
	var list []outTensor
	for _, t := range f.HeaderOrder() {
		e, ok := changed[t.Name]
		if !ok {
			e = copyOf(t)
		}
		touched = touched || ok
		list = append(append(list, e), made[e.name]...)
	}
	if !touched {
		return nil
	}
	for _, e := range added {
		list = slices.Insert(list, place(list, e), e)
	}
	return list
}

// place returns where a new tensor comes in a header: the safetensors library
// sorts those of a dtype by name.
func place(list []outTensor, e outTensor) int {
	i := slices.IndexFunc(list, func(o outTensor) bool { return o.dtype == e.dtype && o.name > e.name })
	if i < 0 {
		return len(list)
	}
	return i
}

// changeLayer adds the tensors of a rewritten weight to changed, by name, and
// those it has not had yet to made, by the name of its data.
func changeLayer(changed map[string]outTensor, made map[string][]outTensor, l Layer) {
	w := l.Weight
	if l.into != nil {
		quantizeLayer(changed, made, l)
		return
	}
	data := copyOf(w.Data)
	data.owner = w.Name
	float, toFloat := floatTypes[l.Output]
	if l.unreset() {
		float = "F32"
	}
	if float != "" {
		data.dtype, data.shape = float, w.Shape
		if l.turned {
			data.shape = []int64{w.Shape[1], w.Shape[0]}
		}
		data.size = w.Numel() * float.Bits() / 8
	}
	changed[data.name] = data
	if l.unreset() {
		return // the quant state stays, byte for byte
	}
	for _, t := range w.Companions {
		e := copyOf(t)
		e.owner = w.Name
		switch {
		case toFloat:
			e.absent = true
		case w.State != nil && t == w.State.JSON:
			e.late, e.size = true, t.Size+stateSlack
		}
		changed[t.Name] = e
	}
}

// quantizeLayer is changeLayer for a float weight that is quantized.
func quantizeLayer(changed map[string]outTensor, made map[string][]outTensor, l Layer) {
	own := func(t *loader.Tensor) outTensor {
		e := copyOf(t)
		e.owner, e.from = l.Weight.Name, nil
		return e
	}
	data := own(l.into.Data)
	data.from = l.Weight.Data // what is written if the layer is stopped
	changed[data.name] = data
	for _, t := range l.into.Companions {
		e := own(t)
		if l.into.State != nil && t == l.into.State.JSON {
			e.late, e.size = true, t.Size+stateSlack
		}
		made[data.name] = append(made[data.name], e)
	}
}

// floatTypes are the element types of the output forms that dequantize.
var floatTypes = map[Output]loader.DType{AsBF16: "BF16", AsF16: "F16", AsF32: "F32"}

// home returns the file a new tensor belongs in: that of its module's other
// tensors, else the last one.
func home(model *loader.Checkpoint, name string) *loader.File {
	module := strings.TrimSuffix(name, path.Ext(name)) + "."
	for _, f := range model.Files {
		for _, t := range f.Tensors {
			if strings.HasPrefix(t.Name, module) {
				return f
			}
		}
	}
	return model.Files[len(model.Files)-1]
}
