package imapsession

import (
	"os"
	"testing"

	"imapsync/internal/devenv"
)

func TestMain(m *testing.M) {
	devenv.TestsWait()
	os.Exit(m.Run())
}
