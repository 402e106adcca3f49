// Command packets is what stands in pods when packets are judged: a server that says who it is, a client that tries many
// addresses at once, and a process that does nothing.
//
//	packets pause
//	packets serve NAME tcp:8080 udp:8080 udp:203.0.113.10:53
//	packets end
//	packets try SECONDS tcp:10.244.1.2:8080 udp:10.244.1.2:8080 name:kubernetes.default.svc.cluster.local
//
// The third ends the server in the same pod, as a fault of its own would. A try prints one JSON object a line, in the order of the
// arguments: what was tried, what came of it (open, refused, silent, unreachable), and what the other side said.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	arguments := os.Args[1:]
	switch {
	case len(arguments) == 1 && arguments[0] == "pause":
		pause()
	case len(arguments) > 2 && arguments[0] == "serve":
		serve(arguments[1], arguments[2:])
	case len(arguments) == 1 && arguments[0] == "end":
		if err := syscall.Kill(1, syscall.SIGUSR1); err != nil {
			fail(err)
		}
	case len(arguments) > 2 && arguments[0] == "try":
		try(arguments[1], arguments[2:])
	default:
		fail(errors.New("usage: packets pause | serve NAME PROTOCOL:PORT… | end | try SECONDS PROTOCOL:HOST:PORT…"))
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "packets:", err)
	os.Exit(2)
}

// pause waits for the signal to end. As process 1 of a pod it also takes in what was orphaned.
func pause() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	orphaned := make(chan os.Signal, 1)
	signal.Notify(orphaned, syscall.SIGCHLD)
	for {
		select {
		case <-ended:
			return
		case <-orphaned:
			for {
				if child, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); child <= 0 || err != nil {
					break
				}
			}
		}
	}
}

// serve answers until it is killed: whoever is to be shut off does not go because he is asked to.
func serve(name string, ports []string) {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGUSR1)
	answer := []byte(name + "\n")
	for _, port := range ports {
		protocol, address, _ := strings.Cut(port, ":")
		if !strings.Contains(address, ":") {
			address = ":" + address
		}
		switch protocol {
		case "tcp":
			listener, err := net.Listen("tcp", address)
			if err != nil {
				fail(err)
			}
			go func() {
				for {
					connection, err := listener.Accept()
					if err != nil {
						fail(err)
					}
					go greet(connection, answer)
				}
			}()
		case "udp":
			socket, err := net.ListenPacket("udp", address)
			if err != nil {
				fail(err)
			}
			go func() {
				heard := make([]byte, 512)
				for {
					_, from, err := socket.ReadFrom(heard)
					if err != nil {
						fail(err)
					}
					_, _ = socket.WriteTo(answer, from)
				}
			}()
		default:
			fail(fmt.Errorf("%q is neither tcp:PORT nor udp:PORT, with or without a host", port))
		}
	}
	<-ended
	os.Exit(1)
}

// greet says who this is and then sends back what it hears, so that a connection can be kept and looked at again.
func greet(connection net.Conn, answer []byte) {
	defer connection.Close()
	if _, err := connection.Write(answer); err != nil {
		return
	}
	lines := bufio.NewScanner(connection)
	for lines.Scan() {
		if _, err := connection.Write(append(lines.Bytes(), '\n')); err != nil {
			return
		}
	}
}

// Outcome is what came of one try.
type Outcome struct {
	Tried   string `json:"tried"`
	Verdict string `json:"verdict"`
	Said    string `json:"said,omitempty"`
}

func try(seconds string, targets []string) {
	number, err := strconv.ParseFloat(seconds, 64)
	if err != nil {
		fail(err)
	}
	patience := time.Duration(number * float64(time.Second))
	outcomes := make([]Outcome, len(targets))
	var tries sync.WaitGroup
	for index, target := range targets {
		tries.Go(func() {
			said, err := reach(target, patience)
			outcomes[index] = Outcome{Tried: target, Verdict: verdict(err), Said: said}
		})
	}
	tries.Wait()
	lines := json.NewEncoder(os.Stdout)
	for _, outcome := range outcomes {
		if err := lines.Encode(outcome); err != nil {
			fail(err)
		}
	}
}

// question is a datagram that a DNS server answers too: who is responsible for the root (RFC 1035, section 4.1).
var question = []byte{0x53, 0x44, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1}

func reach(target string, patience time.Duration) (string, error) {
	protocol, address, _ := strings.Cut(target, ":")
	if protocol == "name" {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		found, err := (&net.Resolver{PreferGo: true}).LookupHost(ctx, address)
		return strings.Join(found, ","), err
	}
	begun := time.Now()
	connection, err := net.DialTimeout(protocol, address, patience)
	if err != nil {
		return "", err
	}
	defer connection.Close()
	if protocol == "udp" {
		return ask(connection, begun.Add(patience))
	}
	// A server that says nothing first, such as the API server, was reached all the same.
	_ = connection.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	line, _ := bufio.NewReader(connection).ReadString('\n')
	return strings.TrimSpace(line), nil
}

// again is after how long a datagram without an answer is sent once more: nobody else does that for it.
const again = 500 * time.Millisecond

// ask sends a datagram until it is answered or the time is over. Without an answer nothing is known of it.
func ask(connection net.Conn, end time.Time) (string, error) {
	answer := make([]byte, 512)
	for {
		if _, err := connection.Write(question); err != nil {
			return "", err
		}
		pause := time.Now().Add(again)
		if pause.After(end) {
			pause = end
		}
		_ = connection.SetReadDeadline(pause)
		length, err := connection.Read(answer)
		if errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(end) {
			continue
		}
		if bytes.HasPrefix(answer, question[:2]) {
			return "", err
		}
		return strings.TrimSpace(string(answer[:length])), err
	}
}

func verdict(err error) string {
	var name *net.DNSError
	var timeout net.Error
	switch {
	case err == nil:
		return "open"
	case errors.As(err, &name) && name.IsNotFound:
		return "refused"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "unreachable"
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, os.ErrDeadlineExceeded):
		return "silent"
	default:
		return "error: " + err.Error()
	}
}
