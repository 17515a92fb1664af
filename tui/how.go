package tui

import (
	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
	"mergescope/themes"
)

// how is what jobs are told beside the plan, until the program ends.
type how struct {
	unsafe    bool
	calibrate merge.Calibration
	text      string   // where that comes from, as typed
	flags     []string // that say the same to a command
}

// options are those of a job.
func (h *how) options(opt merge.Options) merge.Options {
	opt.Unsafe, opt.Calibrate = h.unsafe, h.calibrate
	return opt
}

// words are the flags for the command line of the plan.
func (h *how) words() []string {
	if h.unsafe {
		return append([]string{"--unsafe"}, h.flags...)
	}
	return h.flags
}

func howActions() []action {
	return []action{
		{"plan.onto", nil, inPanes, "", "Merge onto the original…", "Add the deltas to the 16-bit weights the model was quantized from, and write those or quantize them once, by the nearest codes or calibrated ones.", nil, (*app).chooseOnto},
		{"plan.profile", nil, inPanes, "", "Profile of rounding…", "Whose rounding rules: those of bitsandbytes on a CPU, or of its CUDA kernels.", nil, (*app).chooseProfile},
		{"plan.statistics", nil, inPanes, "", "Statistics of inputs…", "A file or directory of what calibrated layers see: written if it is not there, else used without running the model.", (*app).noCalibrated, (*app).askStatistics},
		{"job.text", nil, inPanes, "", "Text for calibrated layers…", "Over which text the inputs of calibrated layers are observed: a file, token ids, or what the model writes itself.", (*app).noCalibrated, (*app).askCalibration},
		{"job.unsafe", nil, inPanes, "", "Stop at NaN or write it", "Stop a layer at non-finite values and keep its bytes, or write them as PEFT does without safe_merge.", nil, (*app).toggleUnsafe},
	}
}

// noCalibrated says why there is nothing that is observed.
func (a *app) noCalibrated() string {
	if !a.anyLayer(func(l *merge.Layer) bool { return l.Method.Kind == merge.MethodCalibrated }) {
		return "no layer is calibrated; R chooses that"
	}
	return ""
}

func (a *app) chooseOnto() tea.Cmd {
	a.push(newPicker("merge onto the original", "enter chooses · esc back", false, a.ontoItems()))
	return nil
}

func (a *app) chooseProfile() tea.Cmd {
	var items []item
	for _, p := range []struct{ name, note string }{
		{merge.ProfileCPU, "bitsandbytes on a CPU, the same everywhere"},
		{merge.ProfileCUDA, "bitsandbytes' CUDA kernels; codes that depend on the device are counted"},
	} {
		items = append(items, item{text: p.name, note: p.note, run: func(a *app) tea.Cmd {
			return a.apply(withProfile(a.history.Now(), p.name), "profile "+p.name)
		}})
	}
	a.push(newPicker("profile of rounding", "enter chooses · esc back", false, items))
	return nil
}

// askMethod lets a method be typed with whatever it can be told; set puts it into
// the plan.
func (a *app) askMethod(set func(merge.Plan, merge.Method) merge.Plan, where string) tea.Cmd {
	value := merge.MethodCalibrated + ",residual=4"
	p := newPrompt("method of "+where, "as --method takes it. residual=RANK writes a small adapter beside the output for what codes cannot carry; seed, scales, tokens and damping as in the help of merge", value,
		func(a *app, p *prompt, text string) tea.Cmd {
			m, err := merge.ParseMethod(text)
			if err != nil {
				return p.refuse(err.Error())
			}
			a.pop(p)
			return a.apply(set(a.history.Now(), m), "method "+m.String()+" for "+where)
		})
	a.push(p)
	return nil
}

func (a *app) askStatistics() tea.Cmd {
	p := newPrompt("statistics of inputs", "a file or directory that is written, or used if it is there; nothing for none", a.history.Now().Statistics,
		func(a *app, p *prompt, text string) tea.Cmd {
			a.pop(p)
			plan := a.history.Now()
			plan.Statistics = expandHome(text)
			a.forget()
			return a.apply(plan, "statistics "+clean(text))
		})
	p.files = true
	a.push(p)
	return nil
}

// ownText is typed for the text that the model writes itself.
const ownText = "own"

func (a *app) askCalibration() tea.Cmd {
	value := a.how.text
	if value == "" {
		value = ownText
	}
	p := newPrompt("text for calibrated layers", "own for what the model with its adapters writes; or a text file, builtin, text=FILE for more of them, tokens=FILE for token ids", value, (*app).readCalibration)
	p.files = true
	a.push(p)
	return nil
}

// calibrationMsg brings the text to observe layers over.
type calibrationMsg struct {
	from  *prompt
	asked string
	ask   *evalAsk // nil: the model writes it
	texts []merge.EvalText
	err   error
}

func (a *app) readCalibration(p *prompt, text string) tea.Cmd {
	if text == ownText || text == "" {
		return calibrationMsg{from: p}.arrive(a)
	}
	q, err := evalWords(text)
	if err != nil {
		return p.refuse(err.Error())
	}
	p.wait = true
	model, src := a.model, a.opt.Source
	return a.work(func() tea.Msg {
		open, err := q.open(src, model, nil)
		closeCheckpoints(open)
		return calibrationMsg{p, text, q, q.opt.Texts, err}
	})
}

func (msg calibrationMsg) arrive(a *app) tea.Cmd {
	if msg.err != nil {
		return msg.from.refuse(msg.err.Error())
	}
	a.pop(msg.from)
	a.how.calibrate, a.how.text, a.how.flags = merge.Calibration{Texts: msg.texts}, msg.asked, nil
	said := "layers are observed over what the model writes"
	if msg.ask != nil {
		said = "layers are observed over " + clean(msg.asked)
		for _, name := range msg.ask.texts {
			a.how.flags = append(a.how.flags, "--calibration", name)
		}
		for _, name := range msg.ask.tokens {
			a.how.flags = append(a.how.flags, "--calibration-tokens", name)
		}
	}
	a.forget()
	return tea.Batch(a.say(themes.Good, said), a.replan())
}

func (a *app) toggleUnsafe() tea.Cmd {
	a.how.unsafe = !a.how.unsafe
	a.forget()
	said := "layers stop at NaN and keep their bytes"
	if a.how.unsafe {
		said = "NaN and infinities are written as PEFT does without safe_merge"
	}
	return tea.Batch(a.say(themes.Warn, said), a.replan())
}

// forget drops figures that were found under other conditions.
func (a *app) forget() { a.book.known, a.book.tried = nil, nil }
