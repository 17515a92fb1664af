package tui

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"mergescope/loader"
	"mergescope/merge"
)

// evalHelp says what can be typed to run the model.
const evalHelp = "a text file, or builtin for some prose and Go source; behind it a budget if you like: 60s, or a number of tokens; layers merges one at a time too, " +
	"ladder runs the ways to ship the adapter; beside=CHECKPOINT, compare=PLAN and on=BASE run those beside the others; text=FILE, tokens=FILE, window=N, max-kl=X"

// evalAsk is what a run of the model was asked for, as verify is by its flags.
type evalAsk struct {
	texts, tokens       []string
	compare, beside, on []string
	opt                 merge.EvalOptions
	ladder              bool
}

// evalWords reads what was typed: a text, whose name may have blanks, and behind
// it in any order budgets, words and values.
func evalWords(typed string) (*evalAsk, error) {
	q := &evalAsk{}
	words := strings.Fields(typed)
	for len(words) > 1 || len(words) == 1 && strings.Contains(words[0], "=") {
		known, err := q.word(words[len(words)-1])
		if err != nil {
			return nil, err
		}
		if !known {
			break
		}
		words = words[:len(words)-1]
	}
	if len(words) > 0 {
		q.texts = append([]string{strings.Join(words, " ")}, q.texts...)
	}
	if len(q.texts)+len(q.tokens) == 0 {
		return nil, errors.New("a text is needed")
	}
	if q.ladder && len(q.compare)+len(q.beside)+len(q.on) > 0 {
		return nil, errors.New("the ladder has its own plans: run others beside the plan without that word")
	}
	return q, nil
}

// word takes a word in, and reports whether it is none of a name.
func (q *evalAsk) word(s string) (known bool, err error) {
	n, notNumber := strconv.Atoi(s)
	d, notTime := time.ParseDuration(s)
	key, value, pair := strings.Cut(s, "=")
	switch {
	case s == "layers":
		q.opt.Sensitivity = 2048
	case s == ladderWord:
		q.ladder = true
	case notNumber == nil && n > 0:
		q.opt.MaxTokens = n
	case notTime == nil && d > 0:
		q.opt.Time = d
	case !pair:
		return false, nil
	default:
		return q.value(key, value)
	}
	return true, nil
}

// value takes a word with a value in. Values come last first.
func (q *evalAsk) value(key, value string) (known bool, err error) {
	if list, ok := map[string]*[]string{"text": &q.texts, "tokens": &q.tokens, "compare": &q.compare, "beside": &q.beside, "on": &q.on}[key]; ok {
		if value == "" {
			return true, fmt.Errorf("%s= wants a name", key)
		}
		*list = append([]string{expandHome(value)}, *list...)
		return true, nil
	}
	switch key {
	case "window":
		q.opt.Window, err = strconv.Atoi(value)
		if err != nil || q.opt.Window < 2 {
			return true, errors.New("window= wants a number of tokens, at least 2")
		}
	case "max-kl":
		q.opt.MaxKL, err = strconv.ParseFloat(value, 64)
		if err != nil || !(q.opt.MaxKL > 0) {
			return true, errors.New("max-kl= wants a bound such as 0.05, in nats per token")
		}
	default:
		return false, nil
	}
	return true, nil
}

// open opens what is run beside the plan; what it returns is to be closed, also
// with an error.
func (q *evalAsk) open(src loader.Source, model *loader.Checkpoint, adapters []*loader.Adapter) (open []*loader.Checkpoint, err error) {
	for _, name := range q.compare {
		data, err := readBounded(name, maxPlan)
		if err != nil {
			return open, err
		}
		plan, err := merge.ReadPlan(bytes.NewReader(data), name)
		if err != nil {
			return open, err
		}
		plan, fresh, err := openPlan(src, model, adapters, plan)
		closeAll(fresh)
		if err == nil && len(fresh) > 0 {
			err = fmt.Errorf("%s needs adapters that are not open here: load it once, z takes it back", name)
		}
		if err != nil {
			return open, err
		}
		q.opt.Plans = append(q.opt.Plans, merge.NamedPlan{Name: filepath.Base(name), Plan: plan})
	}
	for i, name := range append(append([]string{}, q.beside...), q.on...) {
		c, err := src.Checkpoint(name)
		if err != nil {
			return open, err
		}
		open = append(open, c)
		if i < len(q.beside) {
			q.opt.Merged = append(q.opt.Merged, c)
		} else {
			q.opt.Bases = append(q.opt.Bases, merge.NewProject(c, adapters...))
		}
	}
	q.opt.Texts, err = merge.OpenTexts(model, src.Demo, q.texts, q.tokens)
	return open, err
}

// closeCheckpoints closes checkpoints that nothing uses any more.
func closeCheckpoints(list []*loader.Checkpoint) {
	for _, c := range list {
		_ = c.Close() // read only: nothing is lost
	}
}
