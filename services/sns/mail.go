package sns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// errRejected marks deliveries that no repetition can save.
var errRejected = errors.New("rejected")

// compose writes the mail of one delivery. Its Message-ID follows from message and subscriber, so that a repeated mail
// can be told from a second one.
func (s *Service) compose(ctx context.Context, p *publication, t target) (id string, text []byte, err error) {
	id = p.ID + "." + t.Subscription[strings.LastIndexByte(t.Subscription, ':')+1:]
	subject, body := p.Subject, p.text(t.Protocol)
	if subject == "" {
		subject = "AWS Notification Message"
	}
	switch {
	case p.Subscription != nil:
		subject = "AWS Notification - Subscription Confirmation"
		body = "You have chosen to subscribe to the topic:\n" + p.Topic + "\n\nTo confirm this subscription, visit the link below (if this was in error no action is necessary):\n" +
			s.link("ConfirmSubscription", "TopicArn", p.Topic, "Token", p.Subscription.Token) + "\n"
	case t.Protocol == "email-json":
		if body, err = s.envelope(ctx, p, t); err != nil {
			return "", nil, err
		}
	default:
		body += "\n\n--\nIf you wish to stop receiving notifications from this topic, please visit the link below to unsubscribe:\n" +
			s.link("Unsubscribe", "SubscriptionArn", t.Subscription) + "\n"
	}
	var b bytes.Buffer
	for _, h := range [][2]string{
		{"From", (&mail.Address{Name: "AWS Notifications", Address: s.from()}).String()},
		{"To", t.Endpoint},
		{"Subject", mime.QEncoding.Encode("utf-8", strings.Join(strings.Fields(subject), " "))},
		{"Date", p.At.Format(time.RFC1123Z)},
		{"Message-ID", "<" + id + "@mayfly>"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
		{"X-Mayfly-Topic", p.Topic},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	_, _ = w.Write([]byte(strings.ReplaceAll(body, "\n", "\r\n"))) // into memory
	_ = w.Close()
	return id, b.Bytes(), nil
}

func (s *Service) from() string {
	if s.From != "" {
		return s.From
	}
	return "no-reply@sns.mayfly"
}

// mail sends the mail of one delivery, or keeps it as a file where there is no mail server.
func (s *Service) mail(ctx context.Context, p *publication, t target) error {
	id, text, err := s.compose(ctx, p, t)
	if err != nil {
		return err
	}
	if s.SMTP == "" {
		return keep(s.MailDir, id, text)
	}
	return s.send(ctx, t.Endpoint, text)
}

// keep writes the file whole or not at all; a repeated mail replaces its twin.
func keep(dir, id string, text []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keep mail: %w", err)
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return fmt.Errorf("keep mail: %w", err)
	}
	defer os.Remove(f.Name()) // gone after the rename
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, id+".eml"))
	}
	if err != nil {
		return fmt.Errorf("keep mail: %w", err)
	}
	return nil
}

// send speaks SMTP with the server of the setting: smtp://[user:password@]host[:port]. TLS is used where the server
// offers it, and demanded before a password is sent.
func (s *Service) send(ctx context.Context, to string, text []byte) error {
	server := s.SMTP
	if !strings.Contains(server, "://") {
		server = "smtp://" + server
	}
	u, err := url.Parse(server)
	if err != nil || u.Hostname() == "" {
		return fmt.Errorf("%w: the setting smtp is not smtp://[user:password@]host[:port]", errRejected)
	}
	port := u.Port()
	if port == "" {
		port = "25"
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return fmt.Errorf("reach the mail server: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	c, err := smtp.NewClient(conn, u.Hostname())
	if err != nil {
		return fmt.Errorf("greet the mail server: %w", err)
	}
	defer c.Close()
	if err := c.Hello("mayfly"); err != nil {
		return smtpError(err)
	}
	if ok, _ := c.Extension("STARTTLS"); ok {
		if err := c.StartTLS(s.TLS(u.Hostname())); err != nil {
			return fmt.Errorf("secure the mail server's connection: %w", err)
		}
	}
	if password, set := u.User.Password(); set {
		// PlainAuth itself refuses to send a password in the clear to another machine.
		if err := c.Auth(smtp.PlainAuth("", u.User.Username(), password, u.Hostname())); err != nil {
			return smtpError(err)
		}
	}
	if err := c.Mail(s.from()); err != nil {
		return smtpError(err)
	}
	if err := c.Rcpt(to); err != nil {
		return smtpError(err)
	}
	w, err := c.Data()
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return smtpError(err)
	}
	_ = c.Quit() // the mail is accepted
	return nil
}

// smtpError marks what the mail server refuses for good: 5xx.
func smtpError(err error) error {
	var answer *textproto.Error
	if errors.As(err, &answer) && answer.Code >= 500 {
		return fmt.Errorf("%w by the mail server: %w", errRejected, err)
	}
	return fmt.Errorf("mail server: %w", err)
}
