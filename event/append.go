package event

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"
)

// appendJSON appends the event as encoding/json writes it without HTML
// escaping, byte for byte, without reflection: for most mail that was half of
// all that publishing costs. It fails only for a time that RFC 3339 has no way
// to write; the times of New are none such.
//
// Here every value is followed by a comma, and what closes a list or an object
// takes the place of the last one.
func (ev *Event) appendJSON(dst []byte) ([]byte, error) {
	dst = append(dst, '{')
	dst = appendField(dst, `"id":`, ev.ID)
	dst = appendField(dst, `"eventType":`, ev.Type)
	dst, err := appendTime(dst, `"timestamp":`, ev.Timestamp)
	if err != nil {
		return nil, err
	}
	dst = append(dst, `"payload":`...)
	if dst, err = ev.Payload.appendJSON(dst); err != nil {
		return nil, err
	}
	return closed(dst, '}'), nil
}

func (p *Payload) appendJSON(dst []byte) ([]byte, error) {
	dst = append(dst, '{')
	dst = appendField(dst, `"tenantId":`, p.TenantID)
	dst = appendField(dst, `"tenant":`, p.Tenant)
	dst, err := appendTime(dst, `"occurredAt":`, p.OccurredAt)
	if err != nil {
		return nil, err
	}
	dst = appendField(dst, `"providerId":`, p.ProviderID)
	dst = append(dst, `"emailData":`...)
	if dst, err = p.EmailData.appendJSON(dst); err != nil {
		return nil, err
	}
	return append(closed(dst, '}'), ','), nil
}

func (data *EmailData) appendJSON(dst []byte) ([]byte, error) {
	var err error
	dst = append(dst, '{')
	dst = appendField(dst, `"id":`, data.ID)
	dst = appendField(dst, `"provider":`, data.Provider)
	dst = appendOptional(dst, `"providerId":`, data.ProviderID)
	dst = appendOptional(dst, `"tenant":`, data.Tenant)
	if !data.ReceivedAt.IsZero() {
		if dst, err = appendTime(dst, `"receivedAt":`, data.ReceivedAt); err != nil {
			return nil, err
		}
	}
	dst = append(dst, `"from":`...)
	dst = appendAddress(dst, &data.From)
	switch {
	case data.To == nil:
		dst = append(dst, `"to":null,`...)
	case len(data.To) == 0:
		dst = append(dst, `"to":[],`...)
	default:
		dst = appendList(dst, `"to":`, data.To, appendAddress)
	}
	dst = appendList(dst, `"cc":`, data.Cc, appendAddress)
	dst = appendList(dst, `"bcc":`, data.Bcc, appendAddress)
	dst = appendList(dst, `"replyTo":`, data.ReplyTo, appendAddress)
	dst = appendField(dst, `"subject":`, data.Subject)
	dst = append(dst, `"body":{`...)
	dst = appendField(dst, `"text":`, data.Body.Text)
	dst = appendOptional(dst, `"html":`, data.Body.HTML)
	dst = appendBlob(dst, `"textBlob":`, data.Body.TextBlob)
	dst = appendBlob(dst, `"htmlBlob":`, data.Body.HTMLBlob)
	dst = append(closed(dst, '}'), ',')
	dst = appendList(dst, `"attachments":`, data.Attachments, appendAttachment)
	dst = appendOptional(dst, `"threadId":`, data.ThreadID)
	dst = appendList(dst, `"references":`, data.References, func(dst []byte, id *string) []byte {
		return appendField(dst, "", *id)
	})
	dst = appendOptional(dst, `"inReplyTo":`, data.InReplyTo)
	dst = appendHeaders(dst, data.Headers)
	if data.MessageSize != 0 {
		dst = appendInt(dst, `"messageSize":`, data.MessageSize)
	}
	dst = appendField(dst, `"importance":`, data.Importance)
	dst = appendField(dst, `"sensitivity":`, data.Sensitivity)
	if data.RawMIME != nil {
		dst = append(dst, `"rawMime":{`...)
		dst = appendBlob(dst, `"blob":`, &data.RawMIME.Blob)
		dst = append(closed(dst, '}'), ',')
	}
	dst = appendList(dst, `"ingressSkipReasons":`, data.IngressSkipReasons, appendSkipReason)
	if dst, err = data.IMAP.appendJSON(dst); err != nil {
		return nil, err
	}
	dst = appendOptional(dst, `"inboundDefaultsId":`, data.InboundDefaultsID)
	dst = appendField(dst, `"autoSubmitted":`, data.AutoSubmitted)
	dst = appendBool(dst, `"isBounce":`, data.IsBounce)
	dst = appendBool(dst, `"isList":`, data.IsList)
	dst = appendOptional(dst, `"recipient":`, data.Recipient)
	dst = appendOptional(dst, `"security":`, data.Security)
	if b := data.Bounce; b != nil {
		dst = append(dst, `"bounce":{`...)
		dst = appendOptional(dst, `"finalRecipient":`, b.FinalRecipient)
		dst = appendOptional(dst, `"action":`, b.Action)
		dst = appendOptional(dst, `"status":`, b.Status)
		dst = appendOptional(dst, `"diagnostic":`, b.Diagnostic)
		dst = appendOptional(dst, `"originalMessageId":`, b.OriginalMessageID)
		dst = append(closed(dst, '}'), ',')
	}
	if c := data.Calendar; c != nil {
		dst = append(dst, `"calendar":{`...)
		dst = appendOptional(dst, `"method":`, c.Method)
		dst = appendOptional(dst, `"uid":`, c.UID)
		dst = append(closed(dst, '}'), ',')
	}
	if r := data.Reply; r != nil {
		dst = append(dst, `"reply":{`...)
		dst = appendField(dst, `"text":`, r.Text)
		dst = appendOptional(dst, `"strategy":`, r.Strategy)
		dst = appendField(dst, `"confidence":`, r.Confidence)
		dst = append(closed(dst, '}'), ',')
	}
	dst = appendList(dst, `"defects":`, data.Defects, func(dst []byte, d *Defect) []byte {
		dst = append(dst, '{')
		dst = appendField(dst, `"code":`, d.Code)
		dst = appendOptional(dst, `"detail":`, d.Detail)
		return append(closed(dst, '}'), ',')
	})
	return append(closed(dst, '}'), ','), nil
}

func (i *IMAP) appendJSON(dst []byte) ([]byte, error) {
	if i == nil {
		return dst, nil
	}
	dst = append(dst, `"imap":{`...)
	dst = appendField(dst, `"folder":`, i.Folder)
	dst = appendInt(dst, `"uid":`, int64(i.UID))
	dst = appendInt(dst, `"uidValidity":`, int64(i.UIDValidity))
	if !i.InternalDate.IsZero() {
		var err error
		if dst, err = appendTime(dst, `"internalDate":`, i.InternalDate); err != nil {
			return nil, err
		}
	}
	return append(closed(dst, '}'), ','), nil
}

func appendAddress(dst []byte, a *Address) []byte {
	dst = append(dst, '{')
	dst = appendField(dst, `"email":`, a.Email)
	dst = appendOptional(dst, `"name":`, a.Name)
	return append(closed(dst, '}'), ',')
}

func appendAttachment(dst []byte, a *Attachment) []byte {
	dst = append(dst, '{')
	dst = appendField(dst, `"id":`, a.ID)
	dst = appendField(dst, `"name":`, a.Name)
	dst = appendField(dst, `"contentType":`, a.ContentType)
	dst = appendInt(dst, `"size":`, a.Size)
	dst = appendOptional(dst, `"contentId":`, a.ContentID)
	dst = appendBool(dst, `"isInline":`, a.IsInline)
	dst = appendField(dst, `"sha256":`, a.SHA256)
	dst = appendBlob(dst, `"blob":`, a.Blob)
	if len(a.Content) > 0 {
		dst = append(dst, `"content":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, a.Content)
		dst = append(dst, '"', ',')
	}
	return append(closed(dst, '}'), ',')
}

func appendBlob(dst []byte, name string, b *Blob) []byte {
	if b == nil {
		return dst
	}
	dst = append(append(dst, name...), '{')
	dst = appendField(dst, `"store":`, b.Store)
	dst = appendField(dst, `"bucket":`, b.Bucket)
	dst = appendField(dst, `"key":`, b.Key)
	if b.Size != 0 {
		dst = appendInt(dst, `"size":`, b.Size)
	}
	return append(closed(dst, '}'), ',')
}

func appendSkipReason(dst []byte, r *SkipReason) []byte {
	dst = append(dst, '{')
	dst = appendField(dst, `"type":`, r.Type)
	dst = appendField(dst, `"reason":`, r.Reason)
	dst = appendOptional(dst, `"attachmentId":`, r.AttachmentID)
	dst = appendOptional(dst, `"attachmentName":`, r.AttachmentName)
	dst = appendInt(dst, `"size":`, r.Size)
	dst = appendInt(dst, `"cap":`, r.Cap)
	return append(closed(dst, '}'), ',')
}

// appendHeaders writes them in the order of their names.
func appendHeaders(dst []byte, headers map[string]string) []byte {
	if len(headers) == 0 {
		return dst
	}
	type header struct{ name, value string }
	var few [32]header // on the stack
	list := few[:0]
	for name, value := range headers {
		list = append(list, header{name, value})
	}
	slices.SortFunc(list, func(a, b header) int { return strings.Compare(a.name, b.name) })
	dst = append(dst, `"headers":{`...)
	for _, h := range list {
		dst = append(appendString(dst, h.name), ':')
		dst = appendField(dst, "", h.value)
	}
	return append(closed(dst, '}'), ',')
}

// appendList leaves an empty list out.
func appendList[T any](dst []byte, name string, list []T, item func([]byte, *T) []byte) []byte {
	if len(list) == 0 {
		return dst
	}
	dst = append(append(dst, name...), '[')
	for i := range list {
		dst = item(dst, &list[i])
	}
	return append(closed(dst, ']'), ',')
}

func appendField(dst []byte, name, value string) []byte {
	return append(appendString(append(dst, name...), value), ',')
}

// appendOptional leaves an empty value out.
func appendOptional(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	return appendField(dst, name, value)
}

func appendInt(dst []byte, name string, n int64) []byte {
	return append(strconv.AppendInt(append(dst, name...), n, 10), ',')
}

func appendBool(dst []byte, name string, b bool) []byte {
	return append(strconv.AppendBool(append(dst, name...), b), ',')
}

func appendTime(dst []byte, name string, t time.Time) ([]byte, error) {
	dst, err := t.AppendText(append(append(dst, name...), '"'))
	return append(dst, '"', ','), err
}

// closed ends an object or a list, whose last value is followed by a comma.
func closed(dst []byte, end byte) []byte {
	if last := len(dst) - 1; dst[last] == ',' {
		dst[last] = end
		return dst
	}
	return append(dst, end)
}
