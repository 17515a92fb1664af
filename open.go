package main

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mergescope/loader"
	"mergescope/merge"
)

// selection is what the flags of a command name.
type selection struct {
	adapters []string // NAME or NAME=SCALE
	plan     string   // plan file
	layer    string   // RE2 on module paths
	method   string
	profile  string
	defects  bool   // reproduce PEFT's wrong merges
	combine  string // combination type and its options
	onto     string // original 16-bit checkpoint
	quantize string // what a merge onto it is quantized to

	statistics string // of calibrated layers' inputs
	output     string // output form of all layers
}

func (s *selection) addAdapter(c *cobra.Command) {
	c.Flags().StringArrayVarP(&s.adapters, "adapter", "a", nil, "adapter NAME[=SCALE], SCALE multiplies alpha/r; repeatable, merged in order")
}

func (s *selection) addPlan(c *cobra.Command) {
	s.addAdapter(c)
	c.Flags().StringVar(&s.plan, "plan", "", "plan file that assigns adapters, scales and output forms to layers")
	c.Flags().StringVar(&s.method, "method", "", "how codes are chosen: peft (default), sum (adapters added up first),\ndithered[,seed=N][,scales=keep|fresh] (right on average) or\ncalibrated[,seed=N][,scales=keep|fresh|move][,tokens=N][,damping=X][,mu=X][,base-text=X][,guide=X][,residual=RANK]\n[,optimizer=auto|feedback|descent|directions] (right on what the layers' inputs see)")
	c.Flags().BoolVar(&s.defects, "reproduce-defects", false, "with method peft: make the merges that PEFT is known to get wrong, as wrong as it\n(they are refused otherwise)")
	c.Flags().StringVar(&s.profile, "profile", "", "whose rounding rules: cpu (default) or cuda")
	c.Flags().StringVar(&s.combine, "combine", "", "make one adapter of all -a NAME=WEIGHT first, as PEFT's add_weighted_adapter:\nTYPE[,density=D][,majority=total|frequency][,rank=R][,seed=N]")
}

func (s *selection) addLayer(c *cobra.Command) {
	c.Flags().StringVar(&s.layer, "layer", "", "only layers whose module path matches this RE2 expression")
}

// addForms adds the flags that say what becomes of the merged weights.
func (s *selection) addForms(c *cobra.Command) {
	c.Flags().StringVar(&s.onto, "onto", "", "add the deltas to the original 16-bit checkpoint MODEL was quantized from, and write that;\nfigures compare with MODEL")
	s.addStatistics(c)
	c.Flags().StringVar(&s.quantize, "quantize", "", "with --onto: quantize the result once: nf4, fp4 (with ,double for double quantization) or int8")
	c.Flags().StringVar(&s.output, "output", "", "output form of all layers: same (default), bf16, f16, f32, keep or separate; rules of --plan come after it")
}

func (s *selection) addStatistics(c *cobra.Command) {
	c.Flags().StringVar(&s.statistics, "statistics", "", "file or directory of what method calibrated observes of the layers' inputs: written if it is\nnot there, else used without running the model")
}

// session is an opened project with the plan to run on it.
type session struct {
	project *merge.Project
	plan    merge.Plan
	only    func(layer string) bool // nil: all layers
}

// open opens the checkpoint and the adapters and builds or reads the plan.
func (a *app) open(model string, sel selection) (*session, error) {
	only, err := layerFilter(sel.layer)
	if err != nil {
		return nil, err
	}
	refs, err := parseAdapters(sel.adapters)
	if err != nil {
		return nil, err
	}
	if refs, err = sel.combined(refs); err != nil {
		return nil, err
	}
	var file merge.Plan
	if sel.plan != "" {
		if file, err = readPlan(sel.plan); err != nil {
			return nil, err
		}
		if refs, err = joinPlan(refs, file); err != nil {
			return nil, err
		}
	}
	ckpt, err := a.source.Checkpoint(model)
	if err != nil {
		return nil, &failure{what: "open checkpoint", err: err}
	}
	s := &session{project: merge.NewProject(ckpt), only: only}
	if err := a.openOriginal(s, cmp.Or(sel.onto, file.Onto)); err != nil {
		s.Close()
		return nil, err
	}
	for i := range refs {
		ad, err := merge.OpenAdapter(a.source, ckpt, refs[i].path)
		if err != nil {
			s.Close()
			return nil, &failure{what: "open adapter", err: err}
		}
		if refs[i].name == "" {
			refs[i].name = freeName(ad.Name, refs)
		}
		ad.Name = refs[i].name
		s.project.Adapters = append(s.project.Adapters, ad)
	}
	s.plan = assemble(model, refs, file, merge.Output(sel.output))
	err = sel.apply(&s.plan)
	if err == nil && only != nil && !slices.ContainsFunc(ckpt.Weights, func(w *loader.Weight) bool { return only(w.Name) }) {
		err = usagef("mergescope inspect lists the layers", "--layer: no layer matches %q", sel.layer)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// openOriginal opens the checkpoint that --onto or a plan names, if any.
func (a *app) openOriginal(s *session, name string) error {
	if name == "" {
		return nil
	}
	original, err := a.source.Checkpoint(name)
	if err != nil {
		return &failure{what: "open original", err: err}
	}
	if err := s.project.SetOriginal(name, original); err != nil {
		original.Close()
		return &failure{what: "merge onto the original", err: err, hint: "--onto names the 16-bit checkpoint that MODEL was quantized from"}
	}
	return nil
}

// combined makes one reference of those of the command line if --combine says
// so; their scales are its weights.
func (s *selection) combined(refs []adapterRef) ([]adapterRef, error) {
	if s.combine == "" {
		return refs, nil
	}
	c, err := merge.ParseCombination(s.combine)
	if err != nil {
		return nil, usagef("types: "+strings.Join(merge.CombinationTypes(), ", "), "--combine: %w", err)
	}
	if len(refs) == 0 {
		return nil, usagef("add -a NAME=WEIGHT for each", "--combine has no adapters to combine")
	}
	var parts []merge.Weighted
	for _, r := range refs {
		parts = append(parts, merge.Weighted{Path: r.path, Weight: r.scale})
	}
	return []adapterRef{{path: merge.CombinedPath(c, parts), scale: 1}}, nil
}

// needAdapter reports a usage failure if neither -a nor --plan was given.
func (s *selection) needAdapter() error {
	if len(s.adapters) == 0 && s.plan == "" {
		return usagef("add -a ADAPTER or --plan FILE", "the command line names no adapter")
	}
	return nil
}

// assemble puts the adapters of the command line on every layer they target.
// The rules of a plan file come after them and win.
func assemble(model string, refs []adapterRef, file merge.Plan, all merge.Output) merge.Plan {
	p := merge.NewPlan(model)
	if file.Version != 0 {
		p.Method, p.Profile, p.Onto, p.Quantize, p.Statistics = file.Method, file.Profile, file.Onto, file.Quantize, file.Statistics
		p.Notes = file.Notes
	}
	for _, r := range refs {
		p.Adapters = append(p.Adapters, merge.AdapterRef{Name: r.name, Path: r.path})
		if !r.planned {
			p = p.AssignAll(r.name, r.scale)
		}
	}
	if all != "" {
		p = p.SetOutputAll(all)
	}
	p.Rules = append(p.Rules, file.Rules...)
	return p
}

// apply overrides the plan with what the flags say.
func (s *selection) apply(p *merge.Plan) error {
	if s.method != "" {
		p.Method = s.method
	}
	if s.defects {
		m, err := merge.ParseMethod(p.Method)
		if err == nil && m.Kind != merge.MethodPeft {
			return usagef("use it with --method peft", "--reproduce-defects: method %s is not PEFT's", p.Method)
		}
		p.Method = merge.Method{Kind: merge.MethodPeft, Defects: true}.String()
	}
	if s.profile != "" {
		p.Profile = s.profile
	}
	if s.onto != "" {
		p.Onto = s.onto
	}
	if s.quantize != "" {
		p.Quantize = s.quantize
	}
	if s.statistics != "" {
		p.Statistics = s.statistics
	}
	if err := p.Check(); err != nil {
		return &failure{err: err, code: exitUsage}
	}
	return nil
}

func readPlan(name string) (merge.Plan, error) {
	f, err := os.Open(name)
	if err != nil {
		return merge.Plan{}, &failure{what: "read plan", err: err, hint: "mergescope plan MODEL -a ADAPTER -o " + name + " writes one"}
	}
	defer f.Close()
	p, err := merge.ReadPlan(f, name)
	if err != nil {
		return merge.Plan{}, &failure{what: "read plan", err: err}
	}
	return p, nil
}

// Close closes the files of the session.
func (s *session) Close() {
	for _, ad := range s.project.Adapters {
		ad.Close()
	}
	if o := s.project.Original; o != nil {
		o.Close()
	}
	s.project.Model.Close()
}

// adapterRef is an adapter to open.
type adapterRef struct {
	name    string // in the plan; "" before the adapter is open
	path    string
	scale   float64
	planned bool // a plan file says where it goes
}

// parseAdapters splits NAME=SCALE at the last "=", unless no number follows it.
func parseAdapters(flags []string) ([]adapterRef, error) {
	var refs []adapterRef
	for _, f := range flags {
		ref := adapterRef{path: f, scale: 1}
		if i := strings.LastIndexByte(f, '='); i >= 0 {
			if v, err := strconv.ParseFloat(f[i+1:], 64); err == nil {
				ref = adapterRef{path: f[:i], scale: v}
			}
		}
		if ref.path == "" || math.IsNaN(ref.scale) || math.IsInf(ref.scale, 0) {
			return nil, usagef("write -a NAME or -a NAME=0.5", "-a %q is no adapter with a finite scale", f)
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

// joinPlan adds the adapters of a plan file to those of the command line, which
// may repeat them by name or path but not give them a scale.
func joinPlan(refs []adapterRef, file merge.Plan) ([]adapterRef, error) {
	var joined []adapterRef
	for _, a := range file.Adapters {
		joined = append(joined, adapterRef{name: a.Name, path: a.Path, planned: true})
	}
	for _, r := range refs {
		planned := slices.ContainsFunc(file.Adapters, func(a merge.AdapterRef) bool { return r.path == a.Path || r.path == a.Name })
		switch {
		case !planned:
			joined = append(joined, r)
		case r.scale != 1:
			return nil, usagef("change the scale in the plan, or leave --plan out", "-a %s: the plan already says at which scale", r.path)
		}
	}
	return joined, nil
}

// freeName returns name, with a number behind it if another adapter has it.
func freeName(name string, refs []adapterRef) string {
	free := name
	for n := 2; slices.ContainsFunc(refs, func(r adapterRef) bool { return r.name == free }); n++ {
		free = fmt.Sprintf("%s-%d", name, n)
	}
	return free
}

func layerFilter(expr string) (func(string) bool, error) {
	if expr == "" {
		return nil, nil
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		return nil, usagef("--layer takes an RE2 expression such as 'layers\\.3\\..*q_proj'", "--layer: %w", err)
	}
	return re.MatchString, nil
}

// checkWord reports a usage failure unless got is one of want.
func checkWord(flag, got string, want ...string) error {
	for _, w := range want {
		if got == w {
			return nil
		}
	}
	return usagef("known values: "+strings.Join(want, ", "), "%s: %q is not known", flag, got)
}

// shapeText writes [448, 192] as 448x192.
func shapeText(shape []int64) string {
	parts := make([]string, len(shape))
	for i, n := range shape {
		parts[i] = fmt.Sprint(n)
	}
	return strings.Join(parts, "x")
}
