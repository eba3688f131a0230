package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"imapsync/db"
	"imapsync/provider"
)

// How much of a provider's history its page shows.
const (
	maxRuns        = 40
	maxQuarantined = 100
	maxAudit       = 30
)

type providerPage struct {
	chrome
	card
	tested

	Folders    []db.FolderStatus
	Runs       []db.Run
	RunChart   chart
	Quarantine []db.Quarantine
	Audit      []db.Audit
	Tasks      []taskView
	Person     bool  // somebody has to sign in
	HeldBack   int64 // old messages that wait for a person
	Since      string
}

func (s *server) show(w http.ResponseWriter, r *http.Request, p *db.Provider) {
	s.showWith(w, r, http.StatusOK, p, &providerPage{chrome: chrome{Done: doneText(r)}})
}

func (s *server) alert(w http.ResponseWriter, r *http.Request, status int, p *db.Provider, text string) {
	s.showWith(w, r, status, p, &providerPage{chrome: chrome{Alert: text}})
}

// showWith shows a provider's page, with what page has already.
func (s *server) showWith(w http.ResponseWriter, r *http.Request, status int, p *db.Provider, page *providerPage) {
	page.Title, page.Who, page.Tasks, page.Person, page.Since = p.Name, who(r), s.tasks.of(p.Ref()), provider.NeedsPerson(p), "7d"
	if err := s.fillProvider(r.Context(), page, p); err != nil {
		s.fail(w, r, err)
		return
	}
	if slices.ContainsFunc(page.Tasks, taskView.Running) {
		page.Refresh = "3;url=" + path(p, "")
	}
	s.render(w, r, status, "provider.html", page)
}

func (s *server) fillProvider(ctx context.Context, page *providerPage, p *db.Provider) error {
	now := time.Now()
	list, err := s.store.Overviews(ctx, []db.Ref{p.Ref()}, now)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return db.ErrNotFound
	}
	page.card = newCard(list[0], now)
	if page.Folders, err = s.store.FolderStatuses(ctx, p.Tenant, p.ID); err != nil {
		return err
	}
	for i := range page.Folders {
		page.Folders[i].Searched(p)
		page.HeldBack += page.Folders[i].Held
	}
	if page.Runs, err = s.store.ListRuns(ctx, db.RunFilter{Tenant: p.Tenant, ProviderID: p.ID, Limit: maxRuns}); err != nil {
		return err
	}
	page.RunChart = runChart(page.Runs)
	if page.Quarantine, err = s.store.ListQuarantine(ctx, db.QuarantineFilter{Tenant: p.Tenant, ProviderID: p.ID, Limit: maxQuarantined}); err != nil {
		return err
	}
	page.Audit, err = s.store.AuditLog(ctx, p.Tenant, p.ID, maxAudit)
	return err
}

// act answers a form that does something to a provider: with the provider's page,
// which says what went wrong if something did.
func (s *server) act(what string, do func(r *http.Request, p *db.Provider, by string) error) providerHandler {
	return func(w http.ResponseWriter, r *http.Request, p *db.Provider) {
		if !s.parseForm(w, r) {
			return
		}
		if err := do(r, p, who(r).Name); err != nil {
			s.alert(w, r, http.StatusUnprocessableEntity, p, say(p, err, "still as it was: “Test the connection first” switched off resumes it anyway"))
			return
		}
		done(w, r, path(p, ""), what)
	}
}

func (s *server) pause(r *http.Request, p *db.Provider, by string) error {
	return s.mailboxes.Pause(r.Context(), p, by)
}

func (s *server) resume(r *http.Request, p *db.Provider, by string) error {
	return s.mailboxes.Resume(r.Context(), p, r.PostForm.Get("no-test") == "", by)
}

func (s *server) resync(r *http.Request, p *db.Provider, by string) error {
	if r.PostForm.Get("accept") != "" {
		_, err := s.mailboxes.Resync(r.Context(), p, nil, time.Time{}, true, by)
		return err
	}
	since, err := provider.ParseSince(strings.TrimSpace(r.PostForm.Get("since")), time.Now())
	if err != nil {
		return fmt.Errorf("%s: %w", called("since"), err)
	}
	_, err = s.mailboxes.Resync(r.Context(), p, nil, since.Truncate(provider.Day), false, by)
	return err
}

// task begins something that goes on by itself; the page shows where it stands.
func (s *server) task(kind string, do func(ctx context.Context, p *db.Provider, by string, report func(provider.Progress)) (string, error)) providerHandler {
	return s.act("", func(_ *http.Request, p *db.Provider, by string) error {
		return s.tasks.begin(p.Ref(), kind, func(ctx context.Context, report func(provider.Progress)) (string, error) {
			outcome, err := do(ctx, p, by, report)
			if err != nil {
				err = errors.New(say(p, err, ""))
			}
			return outcome, err
		})
	})
}

func (s *server) sync(ctx context.Context, p *db.Provider, by string, report func(provider.Progress)) (string, error) {
	res, err := s.mailboxes.Sync(ctx, p, by, report)
	if res.Provider == nil {
		return "", err
	}
	return strings.ReplaceAll(provider.ResultText(res), "\n", ";"), err
}

func (s *server) reconcile(ctx context.Context, p *db.Provider, _ string, report func(provider.Progress)) (string, error) {
	missing, err := s.mailboxes.Reconcile(ctx, p, report)
	if err != nil {
		return "", err // what it did not get to may be missing as well
	}
	return strconv.Itoa(missing) + " missing", nil
}

// showTasks gives a script what goes on, to put into the page.
func (s *server) showTasks(w http.ResponseWriter, r *http.Request, p *db.Provider) {
	s.render(w, r, http.StatusOK, "tasks", s.tasks.of(p.Ref()))
}

// test tests the settings as they are stored.
func (s *server) test(w http.ResponseWriter, r *http.Request, p *db.Provider) {
	t, told := s.runTest(w, r, p, path(p, "/edit"), func(report func(provider.Step)) (*folderChoice, bool) {
		return nil, s.mailboxes.Diagnose(r.Context(), p, report)
	})
	if !told {
		s.showWith(w, r, http.StatusOK, p, &providerPage{tested: t})
	}
}

type removePage struct {
	chrome

	Provider *db.Provider
	Errors   []string
}

// remove asks for the name, and wants it typed.
func (s *server) remove(w http.ResponseWriter, r *http.Request, p *db.Provider) {
	if !s.parseForm(w, r) {
		return
	}
	page, status := removePage{chrome: chrome{Title: "Remove " + p.Name, Who: who(r)}, Provider: p}, http.StatusOK
	if r.Method == http.MethodPost {
		if strings.TrimSpace(r.PostForm.Get("confirm")) == strings.TrimSpace(p.Name) {
			if err := s.mailboxes.Remove(r.Context(), p, who(r).Name); err != nil {
				s.fail(w, r, err)
				return
			}
			done(w, r, "/", "removed")
			return
		}
		page.Errors, status = []string{"That is not its name: nothing was removed."}, http.StatusUnprocessableEntity
	}
	s.render(w, r, status, "remove.html", page)
}
