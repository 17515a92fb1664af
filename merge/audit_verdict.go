package merge

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"mergescope/loader"
)

// Verdict is what an audit says of a layer or of a checkpoint.
type Verdict string

// Verdicts, the worst first. Those of a checkpoint from OtherBase on are its
// findings; Unexplained and Unreadable are verdicts of layers, which become one
// of the others where all layers are seen together.
const (
	VerdictNonFinite    Verdict = "nonfinite"     // NaN or infinite values in the merged checkpoint
	VerdictLaundered    Verdict = "laundered"     // NaN in the adapter, ordinary numbers in the merged checkpoint
	VerdictAbsent       Verdict = "absent"        // the merged checkpoint lacks the weight
	VerdictShape        Verdict = "shape"         // the shapes differ
	VerdictUnreadable   Verdict = "unreadable"    // one of both cannot be decoded
	VerdictOtherBase    Verdict = "other-base"    // merged onto other weights
	VerdictOtherAdapter Verdict = "other-adapter" // changed by something that is not this adapter
	VerdictPermuted     Verdict = "permuted"      // query or key rows in a converter's order
	VerdictTwice        Verdict = "twice"         // merged, stored and merged again
	VerdictScale        Verdict = "scale"         // applied at another scale
	VerdictMissing      Verdict = "missing"       // not applied
	VerdictChanged      Verdict = "changed"       // changed without an adapter
	VerdictUnexplained  Verdict = "unexplained"   // changed, not by the adapter
	VerdictRequantized  Verdict = "requantized"   // along the adapter, to codes that no rounding gives: calibrated?
	VerdictUndecided    Verdict = "undecided"     // the adapter is too small beside the noise
	VerdictErased       Verdict = "erased"        // merged right, and requantization erased it
	VerdictWeak         Verdict = "weak"          // merged right, less than half of it left
	VerdictRight        Verdict = "right"
	VerdictSame         Verdict = "same" // no adapter and no change
)

// verdicts lists all of them in order.
var verdicts = [...]Verdict{
	VerdictNonFinite, VerdictLaundered, VerdictAbsent, VerdictShape, VerdictUnreadable, VerdictOtherBase, VerdictOtherAdapter,
	VerdictPermuted, VerdictTwice, VerdictScale, VerdictMissing, VerdictChanged, VerdictUnexplained, VerdictRequantized, VerdictUndecided, VerdictErased,
	VerdictWeak, VerdictRight, VerdictSame,
}

// Verdicts lists the verdicts of findings, the worst first.
func Verdicts() []Verdict {
	return slices.DeleteFunc(slices.Clone(verdicts[:]), func(v Verdict) bool { return v == VerdictRight || v == VerdictSame || v == VerdictUnexplained })
}

// Level says how bad a verdict is: an error means that the checkpoint is not
// the merge it should be.
func (v Verdict) Level() Level {
	switch v {
	case VerdictRight, VerdictSame:
		return Info
	case VerdictErased, VerdictWeak, VerdictUndecided, VerdictRequantized:
		return Warning
	}
	return Error
}

// Worse reports whether v is worse than w.
func (v Verdict) Worse(w Verdict) bool {
	return slices.Index(verdicts[:], v) < slices.Index(verdicts[:], w)
}

// Finding is one thing an audit found wrong, over all layers it concerns.
type Finding struct {
	Verdict Verdict  `json:"verdict"`
	Level   Level    `json:"level"`
	Layers  []string `json:"layers"` // or tensors
	Factor  Figure   `json:"factor"` // the scale applied, in units of the plan's
	Message string   `json:"message"`
	Hint    string   `json:"hint"`
}

// pool works out the figures of groups and of the whole, from sums.
func (r *AuditReport) pool() {
	var total auditSums
	at := map[string]int{}
	sums := []auditSums{}
	for _, l := range r.Layers {
		if len(l.Adapters) == 0 || l.sums.N == 0 {
			continue
		}
		name := l.Name[strings.LastIndexByte(l.Name, '.')+1:]
		i, ok := at[name]
		if !ok {
			i = len(sums)
			at[name] = i
			sums = append(sums, auditSums{})
			r.Modules = append(r.Modules, AuditGroup{Name: name})
		}
		sums[i].add(l.sums)
		total.add(l.sums)
		r.Modules[i].Layers++
		if l.Verdict.Level() < Error {
			r.Modules[i].Right++
		}
	}
	r.Totals = total.figures()
	for i := range r.Modules {
		r.Modules[i].AuditFigures = sums[i].figures()
	}
	slices.SortFunc(r.Modules, func(a, b AuditGroup) int { return cmp.Compare(a.Name, b.Name) })
}

// conclude turns the verdicts of layers into findings and a verdict on the
// whole.
func (r *AuditReport) conclude(merged *loader.Checkpoint) {
	r.reconsider()
	r.attribute()
	byKind := map[Verdict][]*AuditLayer{}
	adapted := 0
	for _, l := range r.Layers {
		byKind[l.Verdict] = append(byKind[l.Verdict], l)
		if len(l.Adapters) > 0 {
			adapted++
		}
	}
	for _, v := range Verdicts() {
		for _, group := range byFactor(byKind[v]) {
			r.Findings = append(r.Findings, newFinding(v, group, adapted))
		}
	}
	r.tensorFindings()
	r.unmerged(merged)
	if adapted == 0 && len(r.Adapters) > 0 {
		r.Findings = append(r.Findings, Finding{
			Verdict: VerdictUndecided, Level: Error, Layers: []string{}, Factor: noFigure(),
			Message: "no layer has an adapter to look for", Hint: "see `mergescope inspect` for why the adapter matches nothing",
		})
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(b.Level, a.Level), cmp.Compare(len(b.Layers), len(a.Layers)))
	})
	r.Verdict = VerdictRight
	if len(r.Findings) > 0 && (r.Findings[0].Level == Error || 2*len(r.Findings[0].Layers) >= adapted) {
		r.Verdict = r.Findings[0].Verdict
	}
	r.Summary = r.summary(adapted, byKind)
}

// attribute says of layers that nothing explains whether the base or the
// adapter is another one: weights that no adapter concerns differ from the
// base as well, or the adapter is there on top of what differs, or the change is
// too large for an adapter.
func (r *AuditReport) attribute() {
	var odd []*AuditLayer
	var sum auditSums
	changed, still, applied := 0, 0, 0
	for _, l := range r.Layers {
		switch l.Verdict {
		case VerdictUnexplained:
			odd = append(odd, l)
			sum.add(l.sums)
		case VerdictChanged:
			changed++
		case VerdictSame:
			still++
		case VerdictMissing:
		default:
			applied++
		}
	}
	if len(odd) == 0 {
		if changed > still && changed > 1 {
			r.relabel(VerdictChanged, VerdictOtherBase)
		}
		return
	}
	f, se := sum.applied(), sum.standardError(false)
	there := math.Abs(f-1) <= maxSigmas*se+nearFactor && f > 2*maxSigmas*se
	base := changed > 0 && changed >= still || sum.RR > sum.WW/4 || there
	to := VerdictOtherAdapter
	if base {
		to = VerdictOtherBase
		r.relabel(VerdictChanged, VerdictOtherBase)
	}
	for _, l := range odd {
		if there {
			l.Explanation += "; the adapter is there on top of it"
		}
	}
	r.relabel(VerdictUnexplained, to)
	if applied == 0 {
		// The other adapter or base explains what is missing.
		r.relabel(VerdictMissing, to)
	}
}

func (r *AuditReport) relabel(from, to Verdict) {
	for _, l := range r.Layers {
		if l.Verdict == from {
			l.Verdict = to
		}
	}
}

// byFactor groups layers that miss the scale by about the same factor.
func byFactor(layers []*AuditLayer) [][]*AuditLayer {
	var groups [][]*AuditLayer
next:
	for _, l := range layers {
		for i, g := range groups {
			a, b := float64(g[0].Factor), float64(l.Factor)
			same := l.Verdict != VerdictScale || math.Abs(a-b) <= 2*nearFactor*math.Abs(a)
			if shared := sharedCauses(g[0].Causes, l.Causes); same || len(shared) > 0 && len(g[0].Causes) > 0 {
				groups[i] = append(g, l)
				continue next
			}
		}
		groups = append(groups, []*AuditLayer{l})
	}
	return groups
}

func sharedCauses(a, b []string) []string {
	var out []string
	for _, c := range a {
		if slices.Contains(b, c) {
			out = append(out, c)
		}
	}
	return out
}

// findingWords say of each verdict what is the matter and what to do.
var findingWords = map[Verdict][2]string{
	VerdictNonFinite:    {"NaN or infinite weights in the merged checkpoint", "do not ship it: merge again with --safe, which keeps the base's weights where the adapter is broken"},
	VerdictLaundered:    {"the adapter holds NaN or infinite values that the merge turned into ordinary numbers", "do not ship it: repair or retrain the adapter; PEFT's safe_merge=True and mergescope's --safe stop at such layers"},
	VerdictAbsent:       {"weights of the model that the merged checkpoint lacks", "check that both have the same architecture and names"},
	VerdictShape:        {"weights whose shapes differ", "check that both have the same architecture, and whether the vocabulary was resized"},
	VerdictUnreadable:   {"weights that cannot be decoded", "see `mergescope inspect` of both checkpoints"},
	VerdictOtherBase:    {"merged onto other weights than the model's", "name the base it was merged onto as MODEL; an adapter works on the base it was trained on only"},
	VerdictOtherAdapter: {"changed by something that is not this adapter", "check which adapter, checkpoint step or combination was merged"},
	VerdictPermuted:     {"query or key rows in the order llama.cpp uses", "undo the permutation of q_proj and k_proj before merging or converting"},
	VerdictTwice:        {"the adapter was merged twice", "merge onto the base, not onto a merged checkpoint"},
	VerdictScale:        {"the adapter was applied at a wrong scale", "compare lora_alpha, r and use_rslora in adapter_config.json with what the merging program read"},
	VerdictMissing:      {"the adapter is missing", "check the target modules and names the merging program matched"},
	VerdictChanged:      {"changed although no adapter belongs there", "check for modules_to_save, further training, or another base"},
	VerdictRequantized:  {"requantized otherwise (calibrated?): codes were weighed against each other, which weights alone do not tell right or wrong", "run both over a text: --text; the plan's --method says how it was merged"},
	VerdictUndecided:    {"the adapter is too small beside the rounding errors to tell", "compare with the base the merge was made from, or verify on text"},
	VerdictErased:       {"merged right, but requantization erased the adapter", "keep the adapter separate, write these layers in bf16, or merge onto the original weights"},
	VerdictWeak:         {"merged right, but less than half of the adapter is left", "keep the adapter separate, write these layers in bf16, or merge onto the original weights"},
}

func newFinding(v Verdict, layers []*AuditLayer, adapted int) Finding {
	f := Finding{Verdict: v, Level: v.Level(), Factor: layers[0].Factor, Hint: findingWords[v][1]}
	causes := layers[0].Causes
	for _, l := range layers {
		f.Layers = append(f.Layers, l.Name)
		causes = sharedCauses(causes, l.Causes)
	}
	what := findingWords[v][0]
	if v == VerdictScale {
		what = fmt.Sprintf("the adapter was applied at ×%.4g of its scale", float64(f.Factor))
		if len(causes) > 0 {
			what += " (" + strings.Join(causes, "; or ") + ")"
		}
	}
	of := ""
	if len(layers[0].Adapters) > 0 {
		of = fmt.Sprintf(" of %d", adapted)
	}
	f.Message = fmt.Sprintf("%s: %d%s layers, first %s: %s", what, len(layers), of, layers[0].Name, layers[0].Explanation)
	return f
}

// tensorFindings adds what is wrong with norms and biases.
func (r *AuditReport) tensorFindings() {
	for _, x := range [...]struct {
		v     Verdict
		names []string
	}{{VerdictChanged, r.Others.Changed}, {VerdictAbsent, r.Others.Absent}} {
		if len(x.names) == 0 {
			continue
		}
		r.Findings = append(r.Findings, Finding{
			Verdict: x.v, Level: x.v.Level(), Layers: x.names, Factor: noFigure(), Hint: findingWords[x.v][1],
			Message: fmt.Sprintf("tensors besides the weights, %s: %d, first %s", x.v, len(x.names), x.names[0]),
		})
	}
}

// unmerged reports adapter tensors in the merged checkpoint.
func (r *AuditReport) unmerged(merged *loader.Checkpoint) {
	var names []string
	for _, f := range merged.Files {
		for _, t := range f.Tensors {
			if strings.Contains(t.Name, ".lora_A.") || strings.Contains(t.Name, ".lora_B.") {
				names = append(names, t.Name)
			}
		}
	}
	if len(names) > 0 {
		r.Findings = append(r.Findings, Finding{
			Verdict: VerdictMissing, Level: Error, Layers: names, Factor: noFigure(),
			Hint:    "save the result of merge_and_unload, not the PEFT model",
			Message: fmt.Sprintf("the checkpoint was saved without merging: it holds %s of the adapter, first %s", count(len(names), "tensor"), names[0]),
		})
	}
}

// summary is the verdict in words.
func (r *AuditReport) summary(adapted int, by map[Verdict][]*AuditLayer) string {
	if adapted == 0 {
		return "the plan merges nothing; " + r.rest(by)
	}
	f := fmt.Sprintf("%s of the adapter applied over %s, expected %s",
		Percent(float64(r.Totals.Applied)), count(adapted, "layer"), Percent(float64(r.Totals.Expected)))
	if len(r.Findings) > 0 && r.Verdict != VerdictRight {
		return r.Findings[0].Message + "; " + f
	}
	exact, finer := 0, 0
	for _, l := range r.Layers {
		if len(l.Adapters) > 0 {
			exact += int(count01(l.Exact))
			finer += int(count01(l.FinerBase))
		}
	}
	how := "applied right"
	switch {
	case exact == adapted:
		how += ", exactly as PEFT merges"
	case finer > 0:
		how += fmt.Sprintf(", onto finer weights than the model's in %s", count(finer, "layer"))
	}
	return how + ": " + f + "; " + r.rest(by)
}

func (r *AuditReport) rest(by map[Verdict][]*AuditLayer) string {
	return fmt.Sprintf("%s without an adapter unchanged", count(len(by[VerdictSame]), "layer"))
}
