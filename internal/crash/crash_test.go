package main

import (
	"errors"
	"os"
	"testing"
	"time"

	"imapsync/internal/devenv"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == brokerCommand {
		os.Exit(brokerMain(os.Args[2], os.Args[3]))
	}
	os.Exit(m.Run())
}

// TestFailure02_CrashHarness is `make crash` in short.
func TestFailure02_CrashHarness(t *testing.T) {
	rep, err := crash(t.Context(), options{rounds: 8, seed: uint64(time.Now().UnixNano() % 1_000_000), limit: 10 * time.Minute, out: t.Output()})
	rep.print(t.Output())
	if _, missing := errors.AsType[*devenv.MissingError](err); missing && os.Getenv("IMAPSYNC_TEST_REQUIRE") != "1" {
		t.Skipf("%v (IMAPSYNC_TEST_REQUIRE=1 makes this a failure)", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if kills := rep.Kills.Workers + rep.Kills.Broker + rep.Kills.Database; kills == 0 || rep.Delivered < 50 {
		t.Errorf("%d killed, %d mails delivered: that proves nothing", kills, rep.Delivered)
	}
}
