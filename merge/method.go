package merge

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Method is how a layer's new codes are chosen.
type Method struct {
	Kind   string // MethodPeft, MethodSum, MethodDithered or MethodCalibrated
	Seed   uint64 // of dithered, and of the text that calibrated lets the model write
	Scales string // of dithered and calibrated: on which codes are chosen, ScalesKeep if it is ""

	// Of calibrated; 0 is the default.
	Tokens   int     // at most so many are observed
	Damping  float64 // relative to the mean of the inputs' squares
	Mu       float64 // weight of the delta's own metric beside that of the inputs; below 0: none
	BaseText float64 // share of the text that the base writes without its adapters
	Guide    float64 // times what the adapters add to the logits is added to those it writes with
	Residual int     // rank of the adapter that carries what the codes do not; 0: there is none

	Optimizer string // of calibrated: one of optimizers, "" is OptimizerAuto

	Defects bool // peft: merges that PEFT is known to get wrong are made as wrong, see defect.go
}

// MethodPeft requantizes to the nearest code after each adapter, bit for bit as
// PEFT and bitsandbytes do. MethodSum adds up all adapters of a layer first and
// requantizes once. MethodDithered does so too and rounds each weight to one of
// its two neighbouring codes with the probability that makes it right on
// average, see quant.Dither. MethodCalibrated chooses codes whose errors cancel
// in what the layer's inputs see, see quant.Feedback; it runs the model over a
// text, and layers whose inputs it does not see are merged as MethodPeft.
const (
	MethodPeft     = "peft"
	MethodSum      = "sum"
	MethodDithered = "dithered"

	MethodCalibrated = "calibrated"
)

// Scales that codes are chosen on: the base's own, PEFT's new ones, or (calibrated
// only) the base's, moved a little where that serves a layer's inputs; nested
// statistics stay what they are, see quant.Chooser.ChooseMoving.
const (
	ScalesKeep  = "keep"
	ScalesFresh = "fresh"
	ScalesMove  = "move"
)

// Defaults of MethodCalibrated.
const (
	defaultTokens  = 8192
	defaultDamping = 0.01
	defaultMu      = 0.3
)

// How codes of calibrated layers are found. OptimizerFeedback lets each code make
// up for the errors before it, in all second moments of the inputs. OptimizerDescent
// goes on from there by coordinate descent. OptimizerDirections is feedback over the
// inputs' main directions, at a cost that grows with neither the square of their
// number nor that for each token. OptimizerAuto is feedback for layers of at most
// wideInputs inputs and directions for wider ones.
const (
	OptimizerAuto       = "auto"
	OptimizerFeedback   = "feedback"
	OptimizerDescent    = "descent"
	OptimizerDirections = "directions"
)

var optimizers = []string{OptimizerAuto, OptimizerFeedback, OptimizerDescent, OptimizerDirections}

// wideInputs is how many inputs a layer has whose second moments may still be had:
// 1.6 GB by then, with what is made of them.
const wideInputs = 16384

// descentPasses is how often OptimizerDescent goes over a layer at most: more
// lower the sum a little and nothing else.
const descentPasses = 2

// optimizer says which one a layer of so many inputs gets.
func (m Method) optimizer(inputs int) string {
	switch {
	case m.Optimizer != "" && m.Optimizer != OptimizerAuto:
		return m.Optimizer
	case inputs > wideInputs:
		return OptimizerDirections
	}
	return OptimizerFeedback
}

// maxResidual is the largest rank of a residual.
const maxResidual = 256

// maxGuide keeps guided logits finite.
const maxGuide = 100

// Methods lists the kinds of methods.
func Methods() []string { return []string{MethodPeft, MethodSum, MethodDithered, MethodCalibrated} }

// reproduceDefects is the option of MethodPeft.
const reproduceDefects = "reproduce-defects"

// ParseMethod reads "peft[,reproduce-defects]", "sum", "dithered[,seed=N][,scales=keep|fresh]" or
// "calibrated[,seed=N][,scales=keep|fresh|move][,tokens=N][,damping=X][,mu=X][,base-text=X][,guide=X][,residual=RANK][,optimizer=auto|feedback|descent|directions]".
func ParseMethod(text string) (Method, error) {
	parts := strings.Split(text, ",")
	m := Method{Kind: parts[0]}
	switch {
	case !slices.Contains(Methods(), m.Kind):
		return m, fmt.Errorf("unknown method %q, known are %s", m.Kind, strings.Join(Methods(), ", "))
	case text == MethodPeft+","+reproduceDefects:
		m.Defects = true
		return m, nil
	case m.Kind == MethodPeft && len(parts) > 1:
		return m, fmt.Errorf("method %s: unknown option %q, known is %s", m.Kind, strings.Join(parts[1:], ","), reproduceDefects)
	case !m.drawn() && len(parts) > 1:
		return m, fmt.Errorf("method %s has no options", m.Kind)
	}
	for _, p := range parts[1:] {
		if err := m.option(p); err != nil {
			return m, fmt.Errorf("method %s: %w", m.Kind, err)
		}
	}
	return m, nil
}

// drawn reports whether the method has a seed and a choice of scales.
func (m Method) drawn() bool { return m.Kind == MethodDithered || m.Kind == MethodCalibrated }

// option takes up KEY=VALUE.
func (m *Method) option(text string) (err error) {
	key, value, _ := strings.Cut(text, "=")
	known := "seed=N and scales=keep|fresh"
	if m.Kind == MethodCalibrated {
		known = "seed=N, scales=keep|fresh|move, tokens=N, damping=X, mu=X, base-text=X, guide=X, residual=RANK and optimizer=" + strings.Join(optimizers, "|")
	}
	switch {
	case key == "seed":
		if m.Seed, err = strconv.ParseUint(value, 10, 64); err != nil {
			return fmt.Errorf("%s: want a whole number", text)
		}
	case key == "scales" && (value == ScalesKeep || value == ScalesFresh || value == ScalesMove && m.Kind == MethodCalibrated):
		m.Scales = ""
		if value != ScalesKeep {
			m.Scales = value
		}
	case key == "tokens" && m.Kind == MethodCalibrated:
		if m.Tokens, err = strconv.Atoi(value); err != nil || m.Tokens < 1 {
			return fmt.Errorf("%s: want a whole number from 1 on", text)
		}
	case key == "damping" && m.Kind == MethodCalibrated:
		if m.Damping, err = strconv.ParseFloat(value, 64); err != nil || !(m.Damping > 0 && m.Damping <= 1e6) {
			return fmt.Errorf("%s: want a number above 0", text)
		}
	case key == "mu" && m.Kind == MethodCalibrated:
		if m.Mu, err = strconv.ParseFloat(value, 64); err != nil || !(m.Mu >= 0 && m.Mu <= 1e6) {
			return fmt.Errorf("%s: want a number from 0 on", text)
		}
		if m.Mu == 0 {
			m.Mu = -1
		}
	case key == "base-text" && m.Kind == MethodCalibrated:
		if m.BaseText, err = strconv.ParseFloat(value, 64); err != nil || !(m.BaseText >= 0 && m.BaseText <= 1) {
			return fmt.Errorf("%s: want a share from 0 to 1", text)
		}
	case key == "guide" && m.Kind == MethodCalibrated:
		if m.Guide, err = strconv.ParseFloat(value, 64); err != nil || !(m.Guide >= 0 && m.Guide <= maxGuide) {
			return fmt.Errorf("%s: want a number from 0 to %d", text, maxGuide)
		}
	case key == "residual" && m.Kind == MethodCalibrated:
		if m.Residual, err = strconv.Atoi(value); err != nil || m.Residual < 1 || m.Residual > maxResidual {
			return fmt.Errorf("%s: want a rank from 1 to %d", text, maxResidual)
		}
	case key == "optimizer" && m.Kind == MethodCalibrated:
		if m.Optimizer = value; !slices.Contains(optimizers, value) {
			return fmt.Errorf("%s: want one of %s", text, strings.Join(optimizers, ", "))
		}
	default:
		return fmt.Errorf("unknown option %q, known are %s", text, known)
	}
	return nil
}

// String is the inverse of ParseMethod.
func (m Method) String() string {
	if m.Defects {
		return m.Kind + "," + reproduceDefects
	}
	s := m.Kind
	if m.Seed != 0 {
		s += ",seed=" + strconv.FormatUint(m.Seed, 10)
	}
	if m.Scales != "" {
		s += ",scales=" + m.Scales
	}
	if m.Tokens != 0 {
		s += ",tokens=" + strconv.Itoa(m.Tokens)
	}
	if m.Damping != 0 {
		s += ",damping=" + strconv.FormatFloat(m.Damping, 'g', -1, 64)
	}
	if m.Mu != 0 {
		s += ",mu=" + strconv.FormatFloat(max(0, m.Mu), 'g', -1, 64)
	}
	if m.BaseText != 0 {
		s += ",base-text=" + strconv.FormatFloat(m.BaseText, 'g', -1, 64)
	}
	if m.Guide != 0 {
		s += ",guide=" + strconv.FormatFloat(m.Guide, 'g', -1, 64)
	}
	if m.Residual != 0 {
		s += ",residual=" + strconv.Itoa(m.Residual)
	}
	if m.Optimizer != "" {
		s += ",optimizer=" + m.Optimizer
	}
	return s
}

func (m Method) tokens() int { return cmp.Or(m.Tokens, defaultTokens) }

func (m Method) damping() float64 { return cmp.Or(m.Damping, defaultDamping) }

// mu is 0 for none.
func (m Method) mu() float64 { return max(0, cmp.Or(m.Mu, defaultMu)) }
