package sync

import (
	"testing"
	"time"

	"imapsync/db"
)

// A time that makes no sense, which another program may have stored, is the
// default, and not a wait without an end.
func TestTimeoutsBelowZeroAreTheDefault(t *testing.T) {
	p := &db.Provider{Settings: db.Settings{ConnectTimeoutMS: -1, CommandTimeoutMS: -1, LiteralTimeoutMS: -1, PassTimeoutMS: -1}}
	want := Timeouts{Pass: 15 * time.Minute} // zero is the default of imapsession
	if got := (Timeouts{}).of(p); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
