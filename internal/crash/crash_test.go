package main

import (
	"errors"
	"os"
	"testing"
	"time"

	"imapsync/internal/devenv"
)

func TestMain(m *testing.M) {
	if len(os.Args) == brokerArgs && os.Args[1] == brokerCommand {
		os.Exit(brokerMain(os.Args))
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
	struck := rep.Kills.Workers + rep.Kills.Broker + rep.Kills.Database + rep.Kills.Frozen + rep.Promoted + rep.Brokers.Frozen +
		rep.Brokers.CutOff + rep.IMAP + rep.Dropped
	if struck == 0 || rep.Delivered < 50 {
		t.Errorf("struck %d times, %d mails delivered: that proves nothing", struck, rep.Delivered)
	}
}
