package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/rogpeppe/go-internal/testscript"
)

// manager is a service manager that writes what it is told to a file, a line each (sd_notify(3)):
// manager FILE. $NOTIFY_SOCKET is where it listens.
func manager(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: manager FILE")
	}
	path := ts.MkAbs("manager.socket")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	ts.Check(err)
	ts.Check(os.Chmod(path, 0o666))
	file, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	var wg sync.WaitGroup
	wg.Go(func() {
		buffer := make([]byte, 4096)
		for {
			n, err := conn.Read(buffer)
			if err != nil {
				return
			}
			fmt.Fprintf(file, "%s\n", buffer[:n])
		}
	})
	ts.Defer(func() {
		conn.Close()
		wg.Wait()
		file.Close()
	})
	ts.Setenv("NOTIFY_SOCKET", path)
}

// mailServer is a mail server on 127.0.0.1:2525 that appends to a file what it gets, for a user with
// a password: mailserver FILE USER PASSWORD
func mailServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: mailserver FILE USER PASSWORD")
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:2525")
	ts.Check(err)
	file, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return &mailSession{file: file, user: args[1], password: args[2]}, nil
	}))
	server.Domain, server.AllowInsecureAuth, server.ErrorLog = "mail.test", true, log.New(io.Discard, "", 0)
	var wg sync.WaitGroup
	wg.Go(func() { server.Serve(listener) })
	ts.Defer(func() {
		server.Close()
		wg.Wait()
		file.Close()
	})
}

// mailSession is one connection of a mailServer.
type mailSession struct {
	file           io.Writer
	user, password string
	known          bool
}

func (s *mailSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *mailSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != s.user || password != s.password {
			return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "Bad user or password"}
		}
		s.known = true
		return nil
	}), nil
}

func (s *mailSession) Mail(from string, _ *smtp.MailOptions) error {
	if !s.known {
		return errors.New("who are you?")
	}
	fmt.Fprintf(s.file, "MAIL FROM %s\n", from)
	return nil
}

func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "nobody@") {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "No such user"}
	}
	fmt.Fprintf(s.file, "RCPT TO %s\n", to)
	return nil
}

func (s *mailSession) Data(r io.Reader) error {
	_, err := io.Copy(s.file, r)
	return err
}

func (s *mailSession) Reset() {}

func (s *mailSession) Logout() error { return nil }
