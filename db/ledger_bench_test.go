package db

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"imapsync/internal/devenv"
)

// BenchmarkPass does to the store what a pass of ten thousand small mails does:
// chunks of 250 with 1,000 marked ahead, each looked up and then committed. It
// gives the CPU that a mail costs the server's sessions and our process.
func BenchmarkPass(b *testing.B) {
	const mails, step, ahead = 10_000, 250, 1000
	store, err := Open(b.Context(), Options{URL: devenv.TestPostgres(b, migrate), MaxConns: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	var passes int
	var server, client time.Duration
	for b.Loop() {
		b.StopTimer()
		fence := seedFence(b, store, fmt.Sprintf("pass %d", passes))
		ref := Ref{fence.Tenant, fence.ProviderID}
		messages := make([]Message, mails)
		for i := range messages {
			sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", ref.ID, i))
			key := hex.EncodeToString(sum[:])
			messages[i] = Message{UID: uint32(i + 1), EventKey: key[:32], MessageID: key[32:] + "@mail.example.com",
				Outcome: Published, StreamSeq: uint64(i + 1), Size: 3000, Attempts: 1}
		}
		serverBefore, clientBefore := sessionCPU(b, store), processCPU(b)
		b.StartTimer()
		at := now()
		state := FolderState{Folder: "INBOX", UIDValidity: 1, UIDNext: mails + 1, LastSearchAt: &at, Backlog: mails}
		for uid := range ahead {
			state.InFlight = append(state.InFlight, int64(uid+1))
		}
		if err := store.SetFolder(b.Context(), fence, &state); err != nil {
			b.Fatal(err)
		}
		for from := 0; from < mails; from += step {
			chunk := messages[from : from+step]
			keys, ids := make([]string, step), make([]string, step)
			for i, m := range chunk {
				keys[i], ids[i] = m.EventKey, m.MessageID
			}
			if known, err := store.KnownMessages(b.Context(), ref, keys, keys, ids); err != nil || len(known) > 0 {
				b.Fatal(known, err)
			}
			state.InFlight = state.InFlight[step:]
			for uid := from + ahead; uid < min(from+ahead+step, mails); uid++ {
				state.InFlight = append(state.InFlight, int64(uid+1))
			}
			served := now()
			state.SettledUID, state.LastUID, state.LastServedAt = uint32(from+step), uint32(from+step), &served
			state.Backlog -= step
			counts, err := store.Commit(b.Context(), fence, Commit{State: &state, Messages: chunk, Bytes: step * 3000, At: served})
			if err != nil || counts.Published != step {
				b.Fatal(counts, err)
			}
		}
		b.StopTimer()
		server += sessionCPU(b, store) - serverBefore
		client += processCPU(b) - clientBefore
		passes++
		b.StartTimer()
	}
	b.ReportMetric(server.Seconds()*1e6/float64(passes*mails), "server-µs/mail")
	b.ReportMetric(client.Seconds()*1e6/float64(passes*mails), "client-µs/mail")
}

func seedFence(b *testing.B, store *Store, name string) Fence {
	b.Helper()
	seedID := addProvider(b, store, name).ID
	fence, err := store.bumpEpoch(b.Context(), testTenant, seedID, uuid.NewString(), now())
	if err != nil {
		b.Fatal(err)
	}
	return fence
}

// sessionCPU is the time that the database's sessions have been on a CPU.
func sessionCPU(b *testing.B, store *Store) time.Duration {
	b.Helper()
	var pids []int
	if err := store.pool.SelectContext(b.Context(), &pids, `
		SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'`); err != nil {
		b.Fatal(err)
	}
	var sum time.Duration
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
		if err != nil {
			b.Skip("the server's CPU time cannot be read here: ", err)
		}
		var ns int64
		if _, err := fmt.Fscan(bytes.NewReader(text), &ns); err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(ns)
	}
	return sum
}

// processCPU is the CPU time of this process.
func processCPU(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
