package fault

import (
	"slices"
	"strings"
)

// Words are what one face says about errors: for each code a sentence, and what
// to do. Each face has a table of its own. The first row that fits counts.
type Words []Word

// Word is what there is to say about some errors. {name} in Say and Do stands
// for the parameter of that name.
type Word struct {
	Codes string // separated by spaces; "" for every code
	Class Class  // "" for every class
	When  string // facts that must hold, separated by spaces; "" for none
	Say   string // ends the error's own sentence
	Do    string // the next step
}

// About is what words are looked up for. Facts are single words for what else
// is known, such as how a mailbox signs in.
type About struct {
	Class  Class
	Code   string
	Facts  []string
	Params map[string]string
}

// Find returns the words for an error, with its parameters in their places; a
// zero Word where there are none.
func (w Words) Find(about About) Word {
	for _, word := range w {
		if !word.fits(about) {
			continue
		}
		var pairs []string
		for name, value := range about.Params {
			pairs = append(pairs, "{"+name+"}", value)
		}
		fill := strings.NewReplacer(pairs...)
		word.Say, word.Do = fill.Replace(word.Say), fill.Replace(word.Do)
		return word
	}
	return Word{}
}

func (w Word) fits(about About) bool {
	if w.Codes != "" && !slices.Contains(strings.Fields(w.Codes), about.Code) || w.Class != "" && w.Class != about.Class {
		return false
	}
	for fact := range strings.FieldsSeq(w.When) {
		if !slices.Contains(about.Facts, fact) {
			return false
		}
	}
	return true
}

// Names reports whether a row names the code: one that fits every code is not
// enough.
func (w Words) Names(code string) bool {
	return slices.ContainsFunc(w, func(word Word) bool { return slices.Contains(strings.Fields(word.Codes), code) })
}

// Ended ends a text with what there is to say, unless it does so already:
// servers say "try again later" too.
func Ended(text, say string) string {
	if text == "" || say == "" || strings.HasSuffix(text, say) {
		return text
	}
	return text + ": " + say
}
