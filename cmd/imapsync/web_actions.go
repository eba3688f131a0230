package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/pflag"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/oauth"
	"imapsync/parse"
	"imapsync/provider"
	mailsync "imapsync/sync"
	"imapsync/web"
)

// webActions give the settings page what the commands do.
func (a *app) webActions(store *db.Store) web.Actions {
	w := &webActor{Service: a.service(store), app: a}
	return web.Actions{
		NewProvider: func(tenant string) (*db.Provider, error) {
			id, err := uuid.NewRandom()
			return provider.Fresh(tenant, id), err
		},
		Apply: w.apply, Add: w.add, Change: w.change, Test: w.test,
		Pause: w.Pause, Remove: w.Remove,
		Resume: func(ctx context.Context, p *db.Provider, test bool, by string) error {
			err := w.Resume(ctx, p, test, by)
			if failed, ok := errors.AsType[*provider.TestError](err); ok {
				return withMore(checkError(failed), "still as it was: --no-test resumes it anyway")
			}
			return err
		},
		Sync: w.sync, Resync: w.resync, Reconcile: w.reconcile,
		NeedsPerson: provider.NeedsPerson, BeginLogin: w.beginLogin, FinishLogin: w.finishLogin, DeviceLogin: w.deviceLogin,
		Forecasts: provider.Forecasts, Fix: fixOf,
		SetQuarantine: w.SetQuarantine,
		Raw:           w.raw, Read: readMail,
	}
}

// webActor does for the settings page what commands do.
type webActor struct {
	*provider.Service

	app *app
}

func inputOf(g web.Given) provider.CredentialInput {
	return provider.CredentialInput{Password: g.Password, ClientSecret: g.ClientSecret, ServiceAccount: g.ServiceAccount}
}

// apply takes settings as the command line does. Flags that name files are not
// among them: the files would be the server's.
func (w *webActor) apply(ctx context.Context, p *db.Provider, values map[string][]string, g web.Given, adding bool) []provider.Problem {
	given := provider.Values{}
	for name, list := range values {
		// What is left blank in a new form is as if it was not given.
		if !adding || slices.ContainsFunc(list, func(s string) bool { return s != "" }) {
			given[name] = list
		}
	}
	problems := provider.Apply(p, given, adding)
	if p.AuthType == db.AuthOAuth2 {
		if adding {
			problems = append(problems, provider.MissingSecrets(p, !g.ServiceAccount.IsZero(), !g.ClientSecret.IsZero())...)
		}
		problems = append(problems, provider.CheckAccount(inputOf(g))...)
	} else if needed, err := w.NeedsPassword(ctx, p); adding && g.Password.IsZero() && err == nil && needed { // else the test finds out
		problems = append(problems, provider.Wrong(provider.Password, "missing: give the password of the mailbox"))
	}
	return provider.Problems(p, problems)
}

func (w *webActor) add(ctx context.Context, p *db.Provider, g web.Given, test bool, by string) error {
	_, err := w.Add(ctx, p, inputOf(g), test, by)
	return storeError(err, "nothing was stored: --no-test stores it anyway")
}

func (w *webActor) change(ctx context.Context, was, is *db.Provider, g web.Given, test bool, by string) error {
	_, err := w.Change(ctx, was, is, inputOf(g), test, by)
	if errors.Is(err, provider.ErrUnchanged) {
		return web.ErrUnchanged
	}
	return storeError(err, "nothing was changed: --no-test stores it anyway")
}

// test is the doctor's examination of a mailbox, and its folders.
func (w *webActor) test(ctx context.Context, p *db.Provider, g web.Given, adding bool, report func(web.Step)) ([]web.Folder, bool) {
	found, ok := w.Test(ctx, p, inputOf(g), adding, func(s provider.Step) {
		report(web.Step{Name: s.Name, State: string(s.State), Text: provider.OneLine(s.Text), Fix: stepFix(p, s), Took: s.Took})
	})
	if found == nil {
		return nil, ok
	}
	folders := make([]web.Folder, len(found))
	for i, f := range found {
		folders[i] = web.Folder{Name: f.Name, Messages: f.Messages, SpecialUse: f.SpecialUse, Read: f.Configured}
	}
	return folders, ok
}

// sync makes one pass, as `imapsync run --provider` does, under the limits that
// the environment gives runs.
func (w *webActor) sync(ctx context.Context, p *db.Provider, by string, report func(web.Progress)) (string, error) {
	f := &runFlags{}
	fs := pflag.NewFlagSet("run", pflag.ContinueOnError)
	f.add(fs)
	if err := fromEnvironment(fs); err != nil {
		return "", err
	}
	f.options.MaxMessageBytes, f.options.Timeouts = f.publish.message, f.timeouts.Timeouts
	w.Pass, w.Publish = f.options, f.publish.options()
	boundMemory(f.options.MaxInFlightBytes)
	res, err := w.Service.Sync(ctx, p, by, func(pr provider.Progress) { report(web.Progress(pr)) })
	if err != nil {
		if class, _ := mailsync.Classify(err); class == fault.Transient && res.Err != nil {
			err = fmt.Errorf("%w: `imapsync doctor %s` says what to do", err, p.ID)
		}
		return "", idleError(err)
	}
	return strings.ReplaceAll(provider.ResultText(res), "\n", ";"), nil
}

func (w *webActor) resync(ctx context.Context, p *db.Provider, since, by string) (string, error) {
	from, _, err := dateRange(since, "", time.Now())
	if err != nil {
		return "", err
	}
	n, err := w.Resync(ctx, p, nil, from, false, by)
	return fmt.Sprintf("%d folders from %s on", n, from.Format(time.DateOnly)), resyncError(p, err)
}

func (w *webActor) reconcile(ctx context.Context, p *db.Provider, report func(web.Progress)) (string, error) {
	missing, err := w.Service.Reconcile(ctx, p, func(pr provider.Progress) { report(web.Progress(pr)) })
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d missing", missing), nil
}

func (w *webActor) beginLogin(ctx context.Context, p *db.Provider, redirect string) (*oauth.Login, error) {
	signIn, err := w.SignIn(ctx, p)
	if err != nil {
		return nil, testedError(err)
	}
	return signIn.Begin(redirect), nil
}

func (w *webActor) deviceLogin(ctx context.Context, p *db.Provider, by string, report func(web.Progress)) (string, error) {
	signIn, err := w.SignIn(ctx, p)
	if err != nil {
		return "", testedError(err)
	}
	device, err := signIn.BeginDevice(ctx)
	if err != nil {
		return "", authError(p, err)
	}
	report(web.Progress{Text: fmt.Sprintf("Open %s on any device and type %s", device.URL, device.UserCode)})
	tokens, err := device.Wait(ctx)
	if err != nil {
		return "", authError(p, err)
	}
	return "signed in; what was granted is stored", signIn.Keep(ctx, tokens, by)
}

func (w *webActor) finishLogin(ctx context.Context, p *db.Provider, login *oauth.Login, answer, by string) error {
	err := w.FinishSignIn(ctx, p, login, answer, by)
	if _, ok := errors.AsType[*oauth.Error](err); ok {
		return authError(p, err)
	}
	return err
}

// fixOf is what to do about the last error of p. Its class is known by the
// login failures that were counted; else its code says enough.
func fixOf(p *db.Provider) string {
	about := fault.About{Code: p.LastErrorCode, Facts: []string{"test"}}
	if p.AuthFailures > 0 {
		about.Class = fault.Auth
	}
	return words.Find(aboutProvider(p, about)).Say
}

func (w *webActor) raw(ctx context.Context, q *db.Quarantine) ([]byte, error) {
	r, err := w.OpenRaw(ctx, q)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// readMail parses a mail for people to look at.
func readMail(raw []byte) web.Mail {
	m := parse.Parse(raw, parse.Limits{})
	mail := web.Mail{
		From: cmp.Or(m.FromLiteral, addressText(m.From)), To: addressesText(m.To), Cc: addressesText(m.Cc),
		Subject: m.Subject, Date: m.DateHeader, Text: m.Text, HTML: m.HTML,
	}
	for _, at := range m.Attachments {
		size, _ := io.Copy(io.Discard, at.Open()) // it never fails
		mail.Attachments = append(mail.Attachments, web.Attachment{Name: at.Name, Type: at.ContentType, Size: size})
	}
	for _, d := range m.Defects {
		mail.Defects = append(mail.Defects, d.Code+": "+provider.OneLine(d.Detail))
	}
	return mail
}

func addressText(a parse.Address) string {
	if a.Name == "" {
		return a.Email
	}
	return a.Name + " <" + a.Email + ">"
}

func addressesText(list []parse.Address) string {
	var texts []string
	for _, a := range list {
		texts = append(texts, addressText(a))
	}
	return strings.Join(texts, ", ")
}
