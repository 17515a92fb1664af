package merge

import (
	"fmt"

	"mergescope/loader"
	"mergescope/quant"
)

// maxScales bounds how many bytes of nested scales Lint looks at: enough for
// 8e9 weights in blocks of 64.
const maxScales = 128 << 20

// maxRemoteScales is the same for a checkpoint on a server.
const maxRemoteScales = 4 << 20

// lintScales checks nested scales: those that decode to zero or less, and maps
// that are not the standard one.
func (p *Project) lintScales() []Alert {
	var out []Alert
	var minusOne, other, failed tally
	left := int64(maxScales)
	if p.Model.Remote {
		left = maxRemoteScales
	}
	skipped := 0
	standard := quant.DynamicMap()
	for _, w := range p.Model.Weights {
		if w.Problem != nil || w.State == nil || !w.State.Nested {
			continue
		}
		if left < w.State.Absmax.Size {
			skipped++
			continue
		}
		left -= w.State.Absmax.Size
		n, err := readNested(w.State)
		if err != nil {
			failed.add(err.Error(), tensorPlace(w.State.Absmax))
			continue
		}
		if first := n.Map[0]; *n.Map != standard {
			n.Map[0] = standard[0]
			if first == -1 && *n.Map == standard {
				minusOne.add(w.Name, tensorPlace(w.State.NestedMap))
			} else {
				other.add(w.Name, tensorPlace(w.State.NestedMap))
			}
			n.Map[0] = first
		}
		out = append(out, negativeScales(w, n)...)
	}
	out = append(out, failed.alert(Error, CodeUnsupported, "weights with scales that cannot be read: %d, first %s")...)
	out = append(out, minusOne.alert(Info, CodeCPUMinusOne, "weights whose nested_quant_map begins with -1 instead of -0.993: %d, first %s; "+
		"bitsandbytes before 0.50 overwrote it when it quantized on a CPU. Scales are decoded with the file's map, as the writer did; a merge writes the standard map")...)
	out = append(out, other.alert(Warning, CodeConflict, "weights whose nested_quant_map is not bitsandbytes' signed dynamic map: %d, first %s; "+
		"scales are decoded with the file's map; a merge writes the standard one")...)
	if skipped > 0 {
		a := newAlert(Info, CodeNegAbsmax, "", fmt.Sprintf("weights whose scales were not looked at, to stay quick: %d", skipped))
		a.Hint = "nothing to mend: what was looked at speaks for the rest, and figures of a report count every scale"
		out = append(out, a)
	}
	return out
}

// negativeScales finds blocks whose decoded scale is not positive.
func negativeScales(w *loader.Weight, n quant.Nested) []Alert {
	absmax := make([]float32, len(n.Codes))
	n.Dequantize(absmax)
	negative, zero, bad, first := 0, 0, 0, -1
	for i, v := range absmax {
		switch {
		case v > 0:
			continue
		case v < 0:
			negative++
		case v == 0:
			zero++
		default:
			bad++
		}
		if first < 0 {
			first = i
		}
	}
	if first < 0 {
		return nil
	}
	at := tensorPlace(w.State.Absmax)
	at.Row = first
	msg := fmt.Sprintf("%d of %d block scales decode to less than zero, which flips the signs of their weights", negative, len(absmax))
	if zero > 0 {
		msg += fmt.Sprintf("; %d decode to zero", zero)
	}
	if bad > 0 {
		msg += fmt.Sprintf("; %d are NaN", bad)
	}
	a := newAlert(Warning, CodeNegAbsmax, w.Name, msg).at(at)
	a.Count = negative + zero + bad
	return []Alert{a}
}
