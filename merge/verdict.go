package merge

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"mergescope/quant"
)

// verdict is what a job says of a layer when it is computed. It is also the
// note an unfinished output keeps, so that a later run can report the layer
// without computing it.
type verdict struct {
	Stopped  bool
	Report   *LayerReport
	Rounding []Alert // for the whole model
	Sums     []byte  // quant.Sums, little-endian: JSON has no infinities
	Seen     onInputs
}

// verdict judges a computed layer. A layer with non-finite values in A, B, the
// delta or the sum is stopped under safe merge; one that only becomes
// non-finite when it is stored is not, as in PEFT.
func (f *flight) verdict(opt mergeOptions) *verdict {
	s, sums := f.sub, f.result.sums
	l := s.layer
	bad, updates := f.nonFinite()
	stopped := (!opt.unsafe || s.choice != nil) && (bad.A+bad.B+bad.Delta+bad.Sum > 0)
	if stopped {
		sums = quant.Sums{Delta: sums.Delta, Sum: sums.Sum, Output: sums.Output}
	}
	if l.packedDefect() {
		sums = quant.Sums{Delta: sums.Delta, Sum: sums.Sum}
	}
	m := MetricsOf(sums)
	m.NonFinite = bad
	var seen onInputs
	if !stopped {
		seen = sumOf(f.result.seen)
	}
	m.KeptOnInputs = ratio(seen.RD, seen.DD)
	if len(s.updates) == 0 {
		sums = quant.Sums{} // totals are those of the layers with an adapter
	}
	v := newVerdict(l, m, sums)
	v.Stopped, v.Seen = stopped, seen
	v.Report.DeltaOnInputs = deltaOutput(seen, s.rows)
	if w := f.result.worst; w.found && !v.Stopped && !l.packedDefect() {
		v.Report.WorstBlock = &WorstBlock{Row: w.row, Col: w.col, Kept: Figure(w.kept)}
	}
	if s.nested() && !v.Stopped {
		unsure := s.unsure // a pointer into s would keep all its scales as long as the report
		v.Report.OffsetUlp = &unsure
	}
	if bad.Any() {
		v.Report.Alerts = append(v.Report.Alerts, f.nonFiniteAlert(bad, updates, v.Stopped))
	}
	if s.onto != nil {
		d := f.result.apart.relative()
		v.Report.Distance = &d
		if a, far := judgeDistance(l, float64(d)); far {
			v.Report.Alerts = append(v.Report.Alerts, a)
		}
	}
	if !v.Stopped && len(s.updates) > 0 {
		for _, a := range JudgeLayer(v.Report, s.judged(), s.meanScale()) {
			if a.Code != CodeNoisy || s.rounds() {
				v.Report.Alerts = append(v.Report.Alerts, a)
			}
		}
	}
	if a, ok := RoundingAlert(s.form); ok && !v.Stopped {
		a.Count = len(s.updates)
		v.Rounding = append(v.Rounding, a)
	}
	return v
}

func newVerdict(l *Layer, m Metrics, sums quant.Sums) *verdict {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, sums) // a buffer takes everything
	return &verdict{Report: newLayerReport(l, m), Sums: b.Bytes()}
}

// nonFinite counts, and returns the index of the first update whose factors are
// not finite, -1 if there is none.
func (f *flight) nonFinite() (n NonFinite, update int) {
	sums := f.result.sums
	n = NonFinite{Delta: sums.Delta, Sum: sums.Sum, Output: sums.Output}
	update = -1
	for i, u := range f.sub.updates {
		bad := u.faults()
		if bad.A+bad.B > 0 && update < 0 {
			update = i
		}
		n.A += bad.A
		n.B += bad.B
	}
	return n, update
}

// nonFiniteAlert names where non-finite values come from: the factors, else the
// first element in which they appear.
func (f *flight) nonFiniteAlert(n NonFinite, update int, stopped bool) Alert {
	l, first := f.sub.layer, f.result.first
	name, adapter := l.Weight.Name, ""
	if len(l.Steps) > 0 {
		adapter = l.Steps[max(update, 0)].Adapter.Name
	}
	switch {
	case update >= 0:
		bad := f.sub.updates[update].faults()
		count := bad.B
		if count == 0 {
			count = bad.A
		}
		return NonFiniteAlert(name, adapter, bad.Origin, bad.At, count, stopped)
	case n.Delta > 0:
		return NonFiniteAlert(name, adapter, "delta", f.place(first.delta), n.Delta, stopped)
	case n.Sum > 0:
		return NonFiniteAlert(name, adapter, "base + delta", f.place(first.sum), n.Sum, stopped)
	default:
		at := f.place(first.output)
		return newAlert(Error, CodeNonFinite, name, fmt.Sprintf(
			"%d weights of the result are not finite although base + delta is: a scale overflowed, first at %s; PEFT's safe_merge does not notice",
			n.Output, at)).at(at)
	}
}

// place points at an element of the weight.
func (f *flight) place(flat int64) Place {
	at := tensorPlace(f.sub.layer.Weight.Data)
	at.Row, at.Col = int(flat/int64(f.sub.cols)), int(flat%int64(f.sub.cols))
	return at
}

func newLayerReport(l *Layer, m Metrics) *LayerReport {
	method := ""
	if l.Method != (Method{Kind: MethodPeft}) {
		method = l.Method.String()
	}
	return &LayerReport{
		Method: method,
		Name:   l.Weight.Name, Format: l.Base().Format.String(), Shape: l.Weight.Shape,
		Adapters: l.LayerSteps(), Output: l.written(), Metrics: m, Alerts: []Alert{},
	}
}

func (v *verdict) encode() []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // every field encodes
	}
	return b
}

func decodeVerdict(note []byte) (*verdict, error) {
	v := &verdict{}
	if err := json.Unmarshal(note, v); err != nil {
		return nil, err
	}
	if v.Report == nil || len(v.Sums) != binary.Size(quant.Sums{}) {
		return nil, fmt.Errorf("the note on a layer is incomplete")
	}
	return v, nil
}

func (v *verdict) sums() (s quant.Sums) {
	// The length was checked, so this cannot fail.
	_ = binary.Read(bytes.NewReader(v.Sums), binary.LittleEndian, &s)
	return s
}

// report returns what is known so far.
func (j *Job) report() *Report {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := &Report{
		Version: 1, Model: NewModelInfo(cmp.Or(j.against, j.model)), Adapters: []AdapterInfo{},
		Method: j.plan.Method, Profile: j.plan.Profile, Totals: j.total(),
		Layers: []*LayerReport{}, Alerts: j.log.All(),
		Seconds: j.clock.elapsed(time.Now()).Seconds(), Plan: j.plan.Digest(), Inputs: j.inputs,
	}
	if j.against != nil {
		r.Onto = &OntoInfo{ModelInfo: NewModelInfo(j.model), Quantize: j.plan.Quantize}
	}
	for _, a := range j.used {
		r.Adapters = append(r.Adapters, NewAdapterInfo(a))
	}
	for i := range j.status {
		if l := j.status[i].Result; l != nil && len(l.Adapters) > 0 {
			r.Layers = append(r.Layers, l)
		}
	}
	r.Peft = peftTotals(r.Layers)
	SortAlerts(r.Alerts)
	return r
}

// reportText is the report as it goes beside the output.
func (j *Job) reportText() ([]byte, error) {
	text, err := json.MarshalIndent(j.report(), "", "  ")
	if err != nil {
		return nil, err
	}
	return append(text, '\n'), nil
}

// digest identifies everything besides the inputs that decides a byte of the
// output or a figure of its report.
func (j *Job) digest() string {
	o := j.opt
	s := fmt.Sprintf("%s unsafe=%t reference=%d noise=%t lora=%d unmerge=%d",
		j.plan.Digest(), o.Unsafe, o.Reference, o.NoiseFloor, o.LoRADtype, o.Unmerge)
	if d := o.Calibrate.digest(); d != "" {
		s += " calibration=" + d
	}
	if j.observed != "" {
		s += " statistics=" + j.observed
	}
	return s
}
