package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mergescope/merge"
)

func newExplain(a *app) *cobra.Command {
	var sel selection
	var at, merged string
	var block bool
	c := &cobra.Command{
		Use:   "explain MODEL",
		Short: "Follow one weight through the merge",
		Long: `Follow one weight through dequantize, add and requantize, with every number in
between. LAYER is a module path or an end of one that only one layer has; ROW and
COL count from 0.

Codes of method calibrated follow from the inputs of the whole model: --merged
reads them from the checkpoint that a merge by the same plan wrote.`,
		Example: `mergescope explain demo -a demo:gocode-light --at model.layers.0.self_attn.q_proj:3:17
mergescope explain demo -a demo:gocode-light --at 0.self_attn.q_proj:3:17 --block
mergescope explain demo -a demo:gocode-light --method calibrated --merged OUT --at 0.self_attn.q_proj:3:17`,
		Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			if at == "" {
				return usagef("for example --at model.layers.0.self_attn.q_proj:0:0", "explain needs --at LAYER:ROW:COL")
			}
			name, row, col, err := parseAt(at)
			if err != nil {
				return err
			}
			if err := sel.needAdapter(); err != nil {
				return err
			}
			s, err := a.open(args[0], sel)
			if err != nil {
				return err
			}
			defer s.Close()
			layer, err := s.layer(name)
			if err != nil {
				return err
			}
			w := layer.Weight
			if row >= w.Rows() || col >= w.Cols() {
				return usagef("rows and columns count from 0", "%s is %s, it has no weight at row %d, column %d", w.Name, shapeText(w.Shape), row, col)
			}
			var report *merge.LayerReport
			if merged != "" {
				if report, err = s.recall(a, merged, w.Name); err != nil {
					return err
				}
			}
			trace, err := s.project.Explain(c.Context(), s.plan, w.Name, row, col)
			if err != nil {
				f := &failure{what: "explain", err: err}
				if errors.Is(err, merge.ErrNotRun) {
					f.hint = "merge by the same plan, then --merged OUT reads them from there"
				}
				return f
			}
			e := merge.Explain{Trace: trace, Layer: w.Name, Report: report}
			text := e.Text(trace.Cursor)
			if block {
				text += "\n" + blockTable(e)
			}
			_, err = io.WriteString(a.out, text)
			return err
		},
	}
	sel.addPlan(c)
	sel.addForms(c)
	c.Flags().StringVar(&at, "at", "", "the weight, as LAYER:ROW:COL")
	c.Flags().StringVar(&merged, "merged", "", "a checkpoint that a merge by this plan wrote, for the codes of calibrated layers")
	c.Flags().BoolVar(&block, "block", false, "list every weight of the block as well")
	return c
}

// recall takes up what a merge wrote of a layer, and returns what its report says
// of it, nil if there is none.
func (s *session) recall(a *app, dir, layer string) (*merge.LayerReport, error) {
	fail := func(err error) error { return &failure{what: "read the merged checkpoint", err: err} }
	c, err := a.source.Checkpoint(dir)
	if err != nil {
		return nil, fail(err)
	}
	defer c.Close()
	if err := s.project.Recall(s.plan, layer, c); err != nil {
		return nil, fail(err)
	}
	r, err := merge.WrittenReport(c)
	if err != nil {
		return nil, fail(err)
	}
	return r.Layer(layer), nil
}

// parseAt splits LAYER:ROW:COL.
func parseAt(at string) (layer string, row, col int, err error) {
	parts := strings.Split(at, ":")
	if len(parts) == 3 && parts[0] != "" {
		var err1, err2 error
		row, err1 = strconv.Atoi(parts[1])
		col, err2 = strconv.Atoi(parts[2])
		if err1 == nil && err2 == nil && row >= 0 && col >= 0 {
			return parts[0], row, col, nil
		}
	}
	return "", 0, 0, usagef("for example --at model.layers.0.self_attn.q_proj:0:0", "--at: %q is not LAYER:ROW:COL", at)
}

// layer finds a layer by its module path, or by an end of it that begins after
// a dot and that no other layer has.
func (s *session) layer(name string) (*merge.Layer, error) {
	layers, _ := s.project.Layers(s.plan)
	var found []*merge.Layer
	for i := range layers {
		l := &layers[i]
		if l.Weight.Name == name {
			return l, nil
		}
		if strings.HasSuffix(l.Weight.Name, "."+name) {
			found = append(found, l)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, usagef("mergescope inspect lists the layers", "the model has no layer %q", name)
	}
	return nil, usagef(fmt.Sprintf("write more of the path, for example %s", found[0].Weight.Name),
		"%d layers end in %q", len(found), name)
}

// blockTable lists every weight of the block.
func blockTable(e merge.Explain) string {
	tr := e.Trace
	coded := len(tr.OldCode) > 0
	t := newTable(">weight", ">W", ">delta", ">W + delta", ">result", ">error", ">code", "")
	for i := range tr.W {
		code, mark := dash, ""
		if coded {
			code = fmt.Sprint(tr.OldCode[i])
			if tr.NewCode[i] != tr.OldCode[i] {
				code, mark = fmt.Sprintf("%d > %d", tr.OldCode[i], tr.NewCode[i]), "moved"
			}
		}
		if i == tr.Cursor {
			mark = strings.TrimSpace(mark + " <")
		}
		t.add(fmt.Sprint(i), short(float64(tr.W[i])), short(float64(tr.D[i])), short(float64(tr.T[i])),
			short(float64(tr.Out[i])), short(float64(tr.Out[i]-tr.T[i])), code, mark)
	}
	var b strings.Builder
	t.write(&b)
	return b.String()
}
