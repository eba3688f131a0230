package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imapsync/db"
	"imapsync/oauth"
	"imapsync/parse"
	"imapsync/secret"
	mailsync "imapsync/sync"
	"imapsync/web"
)

// webActions give the settings page what the commands do.
func (a *app) webActions(store *db.Store) web.Actions {
	w := &webActor{app: a, store: store}
	return web.Actions{
		NewProvider: func(tenant string) (*db.Provider, error) {
			id, err := uuid.NewRandom()
			return defaultProvider(tenant, id), err
		},
		Apply: w.apply, Add: w.add, Change: w.change, Test: w.test,
		Pause: func(ctx context.Context, p *db.Provider, by string) error { return pause(ctx, store, p, by) },
		Resume: func(ctx context.Context, p *db.Provider, test bool, by string) error {
			return a.resume(ctx, store, p, !test, by)
		},
		Remove: func(ctx context.Context, p *db.Provider, by string) error { return remove(ctx, store, p, by) },
		Sync:   w.sync, Resync: w.resync, Reconcile: w.reconcile,
		NeedsPerson: needsPerson, BeginLogin: w.beginLogin, FinishLogin: w.finishLogin, DeviceLogin: w.deviceLogin,
		Forecasts: forecasts, Fix: fixOf,
		SetQuarantine: func(ctx context.Context, q *db.Quarantine, state, by string) error {
			return setQuarantine(ctx, store, q, state, by)
		},
		Raw: w.raw, Read: readMail,
	}
}

// webActor does for the settings page what commands do.
type webActor struct {
	app   *app
	store *db.Store
}

// credentials are those of the store, what was typed before them.
func (w *webActor) credentials(g web.Given) (*credentials, error) {
	c, err := w.app.credentials(w.store)
	c.given = given{password: g.Password, clientSecret: g.ClientSecret, serviceAccount: g.ServiceAccount}
	return c, err
}

// apply takes settings as the command line does. Flags that name files are not
// among them: the files would be the server's.
func (w *webActor) apply(ctx context.Context, p *db.Provider, values map[string][]string, g web.Given, adding bool) []db.Problem {
	var f providerFlags
	f.add(&cobra.Command{})
	for name, list := range values {
		if f.flags.Lookup(name) == nil || strings.HasSuffix(name, "-file") {
			continue
		}
		for _, value := range list {
			if err := f.flags.Set(name, value); err != nil {
				f.wrong(name, "%q cannot be taken", value)
			}
		}
		// What is left blank in a new form is as if it was not given.
		f.typed[name] = !adding || slices.ContainsFunc(list, func(s string) bool { return s != "" })
	}
	f.apply(p, f.onCommandLine)
	f.nameDefaults(p, f.onCommandLine)
	if p.AuthType == db.AuthOAuth2 {
		if adding {
			f.needSecrets(p, !g.ServiceAccount.IsZero(), !g.ClientSecret.IsZero())
		}
		if !g.ServiceAccount.IsZero() {
			if err := oauth.CheckServiceAccount(g.ServiceAccount); err != nil {
				f.wrong("oauth-service-account-file", "%s", err)
			}
		}
	} else if adding && g.Password.IsZero() && w.needsPassword(ctx, p) {
		f.wrong("password-file", "missing: give the password of the mailbox")
	}
	return f.all(p)
}

// needsPassword reports whether a new provider has none anywhere yet.
func (w *webActor) needsPassword(ctx context.Context, p *db.Provider) bool {
	c, err := w.app.credentials(w.store)
	if err != nil || !c.chain.Has(secret.PlaceDB) {
		return false // the test finds out
	}
	_, err = c.chain.Get(ctx, p.Tenant, db.PasswordName(p.ID))
	return err != nil
}

func (w *webActor) add(ctx context.Context, p *db.Provider, g web.Given, test bool, by string) error {
	c, err := w.credentials(g)
	if err != nil {
		return err
	}
	if c.given.any() {
		if err := c.canKeep(); err != nil {
			return err
		}
	}
	c.unkept = true
	_, err = w.app.storeProvider(ctx, c, p, !test, by)
	return err
}

func (w *webActor) change(ctx context.Context, was, is *db.Provider, g web.Given, test bool, by string) error {
	c, err := w.credentials(g)
	if err != nil {
		return err
	}
	changed := changedFields(was, is)
	if len(changed) == 0 && !g.Any() {
		return web.ErrUnchanged
	}
	_, err = w.app.updateProvider(ctx, c, is, changed, !test, by)
	return err
}

// test is the doctor's examination of a mailbox, and its folders.
func (w *webActor) test(ctx context.Context, p *db.Provider, g web.Given, adding bool, report func(web.Step)) ([]web.Folder, bool) {
	ctx, cancel := context.WithTimeoutCause(ctx, checkPatience, errTestTime())
	defer cancel()
	step := func(s mailsync.Step) {
		report(web.Step{Name: s.Name, State: string(s.State), Text: oneLine(s.Text), Fix: stepFix(p, s), Took: s.Took})
	}
	c, err := w.credentials(g)
	if err != nil {
		step(mailsync.Step{Name: "credential", State: mailsync.StepWrong, Text: err.Error()})
		return nil, false
	}
	c.unkept = adding
	loggedIn := false
	ok := mailsync.Diagnose(ctx, p, diagnoseOptions(c, p), func(s mailsync.Step) {
		loggedIn = loggedIn || s.Name == "login" && s.State == mailsync.StepOK
		step(s)
	})
	if !loggedIn {
		return nil, false
	}
	check, err := w.app.checkWith(ctx, c, p)
	if check == nil {
		step(mailsync.Step{Name: "folders", State: mailsync.StepWrong, Text: err.Error()})
		return nil, false
	}
	folders := make([]web.Folder, len(check.Folders))
	for i, f := range check.Folders {
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
	f.providers, f.tenant = []string{p.ID}, p.Tenant
	f.options.MaxMessageBytes, f.options.Timeouts = f.publish.message, f.timeouts.Timeouts
	j, err := w.app.newJob(ctx, w.store, f.options)
	if err != nil {
		return "", err
	}
	defer j.close()
	refs, err := w.app.runRefs(ctx, j.store, f, 0, 0)
	if err != nil {
		return "", err
	}
	if err := j.openPublisher(ctx, w.app, &f.publish); err != nil {
		return "", err
	}
	if err := w.store.WriteAudit(ctx, audit(p, by, "provider_synced", nil)); err != nil {
		return "", err
	}
	work, cancel := j.runner.StopWith(ctx, 0)
	defer cancel()
	var outcome string
	var last error
	j.runner.OnProgress = func(pr mailsync.Progress) { report(web.Progress{Done: pr.Done, Total: pr.Done + pr.Left}) }
	j.runner.OnResult = func(res mailsync.Result) {
		r := resultOf(res)
		outcome, last = strings.ReplaceAll(r.text(), "\n", ";"), resultError(res)
		if res.Err == nil {
			done := r.Counts.Total()
			report(web.Progress{Done: done, Total: done + r.Left})
		}
	}
	summary, err := j.runner.Run(work, refs)
	return outcome, runError(f, summary, err, last)
}

func (w *webActor) resync(ctx context.Context, p *db.Provider, since, by string) (string, error) {
	from, _, err := dateRange(since, "", time.Now())
	if err != nil {
		return "", err
	}
	n, err := resync(ctx, w.store, p, nil, from, false, by)
	return fmt.Sprintf("%d folders from %s on", n, from.Format(time.DateOnly)), err
}

func (w *webActor) reconcile(ctx context.Context, p *db.Provider, report func(web.Progress)) (string, error) {
	j, err := w.app.newJob(ctx, w.store, mailsync.Options{})
	if err != nil {
		return "", err
	}
	defer j.close()
	states, err := j.store.FolderStates(ctx, ref(p))
	if err != nil {
		return "", err
	}
	total, done, missing := len(states), 0, 0
	report(web.Progress{Total: total})
	err = j.runner.Reconcile(ctx, p, func(r mailsync.FolderReport) {
		done++
		missing += len(r.Missing)
		report(web.Progress{Done: done, Total: max(total, done), Text: reportLine(r), Wrong: r.Error != "" || len(r.Missing) > 0})
	})
	if err != nil {
		return "", mailError(err)
	}
	report(web.Progress{Done: done, Total: done}) // a folder that was read once may no longer be
	return fmt.Sprintf("%d missing", missing), nil
}

// client makes the OAuth2 client of p, where what is granted can be kept.
func (w *webActor) client(ctx context.Context, p *db.Provider) (*credentials, *oauth.Client, error) {
	c, err := w.credentials(web.Given{})
	if err == nil {
		err = c.canKeep() // before a person signs in for nothing
	}
	if err != nil {
		return nil, nil, err
	}
	client, err := c.client(ctx, p)
	if err != nil {
		return nil, nil, checkError(p, err)
	}
	return c, client, nil
}

func (w *webActor) beginLogin(ctx context.Context, p *db.Provider, redirect string) (*oauth.Login, error) {
	_, client, err := w.client(ctx, p)
	if err != nil {
		return nil, err
	}
	return client.Begin(redirect), nil
}

func (w *webActor) deviceLogin(ctx context.Context, p *db.Provider, by string, report func(web.Progress)) (string, error) {
	c, client, err := w.client(ctx, p)
	if err != nil {
		return "", err
	}
	device, err := client.BeginDevice(ctx)
	if err != nil {
		return "", authError(p, err)
	}
	report(web.Progress{Text: fmt.Sprintf("Open %s on any device and type %s", device.URL, device.UserCode)})
	tokens, err := device.Wait(ctx)
	if err != nil {
		return "", authError(p, err)
	}
	return "signed in; what was granted is stored", c.keepTokens(ctx, p, tokens, by)
}

func (w *webActor) finishLogin(ctx context.Context, p *db.Provider, login *oauth.Login, answer, by string) error {
	c, err := w.credentials(web.Given{})
	if err != nil {
		return err
	}
	tokens, err := login.Finish(ctx, answer)
	if err != nil {
		return authError(p, err)
	}
	return c.keepTokens(ctx, p, tokens, by)
}

// fixOf is what to do about the last error of p. Its class is known by the
// login failures that were counted; else its code says enough.
func fixOf(p *db.Provider) string {
	var class mailsync.Class
	if p.AuthFailures > 0 {
		class = mailsync.Auth
	}
	return checkFix(p, class, p.LastErrorCode)
}

func (w *webActor) raw(ctx context.Context, q *db.Quarantine) ([]byte, error) {
	j, err := w.app.newJob(ctx, w.store, mailsync.Options{})
	if err != nil {
		return nil, err
	}
	defer j.close()
	var raw bytes.Buffer
	err = w.app.writeRaw(ctx, j, q, &raw)
	return raw.Bytes(), err
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
		mail.Defects = append(mail.Defects, d.Code+": "+oneLine(d.Detail))
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
