package faulttest

import (
	"testing"

	"imapsync/internal/imapsession"
)

// A code says the same whoever makes it.
func TestACodeHasOneClass(t *testing.T) {
	classOf, madeBy := imapsession.Codes(), map[string]string{}
	for _, dir := range Packages(t) {
		for code, class := range codesIn(t, dir) {
			if was, ok := classOf[code]; ok && was != class && was != unsaid && class != unsaid {
				t.Errorf("%s is %s in %s and %s in %s", code, class, dir, was, madeBy[code])
			}
			if class != unsaid || classOf[code] == "" {
				classOf[code], madeBy[code] = class, dir
			}
		}
	}
	if len(classOf) < 70 {
		t.Errorf("only %d codes: the search is out of date", len(classOf))
	}
}
