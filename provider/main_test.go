package provider

import (
	"os"
	"testing"

	"imapsync/internal/devenv"
)

func TestMain(m *testing.M) {
	devenv.TestsWait()
	os.Exit(m.Run())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
