// Command node is the only program inside a node that devcluster brings itself.
//
//	node init READY RECORDED [ADDRESS LISTENER]
//	    Process 1 of the node. File descriptors are inherited; their numbers are arguments. It reaps orphans. On the
//	    first node of a cluster it relays connections from LISTENER, which was opened in the host's network, to ADDRESS
//	    in the node's. It writes "ready" to READY, and continues only after it reads a byte from RECORDED: if its creator
//	    dies before it has recorded that the node exists, it exits. When it dies, the kernel ends every process of the
//	    node.
//	node pause
//	    Process 1 of every pod sandbox: keeps the pod's namespaces alive until it gets SIGINT or SIGTERM.
//	node -p PATH -s SIZE -m MODE -a create|delete
//	    The only process of a pod of the local-path-provisioner, which passes these arguments: makes a folder for a
//	    volume, to which every user may write, or removes it.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

func main() {
	if (len(os.Args) == 4 || len(os.Args) == 6) && os.Args[1] == "init" {
		initNode(inherited(os.Args[2]), inherited(os.Args[3]), os.Args[4:])
	} else if len(os.Args) == 2 && os.Args[1] == "pause" {
		pause()
	} else if len(os.Args) == 9 && os.Args[1] == "-p" && os.Args[7] == "-a" {
		volume(os.Args[2], os.Args[8])
	} else {
		fmt.Fprintln(os.Stderr, "usage: node init READY RECORDED [ADDRESS LISTENER] | node pause | node -p PATH -s SIZE -m MODE -a ACTION")
		os.Exit(2)
	}
}

func volume(path, action string) {
	var err error
	switch action {
	case "create":
		if err = os.MkdirAll(path, 0o777); err == nil {
			err = os.Chmod(path, 0o777) // whatever the umask is
		}
	case "delete":
		err = os.RemoveAll(path)
	default:
		err = fmt.Errorf("%q is neither create nor delete", action)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
}

func inherited(number string) *os.File {
	descriptor, err := strconv.Atoi(number)
	if err != nil {
		fmt.Fprintln(os.Stderr, "node: not the number of a file descriptor:", number)
		os.Exit(2)
	}
	return os.NewFile(uintptr(descriptor), number)
}

func initNode(ready, recorded *os.File, relayed []string) {
	if len(relayed) > 0 {
		listener, err := net.FileListener(inherited(relayed[1]))
		if err != nil {
			fmt.Fprintln(os.Stderr, "node init: this file descriptor is not a listener:", err)
			os.Exit(1)
		}
		go relay(listener, relayed[0])
	}
	fmt.Fprintln(ready, "ready")
	ready.Close()
	if count, _ := recorded.Read(make([]byte, 1)); count == 0 {
		os.Exit(1)
	}
	// Ctrl-C in a terminal and the end of a session must not end the node: only SIGKILL does.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	reapForever()
}

// reapForever reaps processes that outlive their parents.
func reapForever() {
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	for {
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if pid <= 0 || err != nil {
				break
			}
		}
		<-died
	}
}

func relay(listener net.Listener, target string) {
	for {
		client, err := listener.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, "node init: accept:", err)
			return
		}
		go join(client.(*net.TCPConn), target)
	}
}

// join copies in both directions; the kernel splices, so no data passes through this program's memory.
func join(client *net.TCPConn, target string) {
	defer client.Close()
	connection, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	server := connection.(*net.TCPConn)
	defer server.Close()
	done := make(chan struct{}, 2)
	for _, pair := range [][2]*net.TCPConn{{client, server}, {server, client}} {
		go func(to, from *net.TCPConn) {
			io.Copy(to, from)
			to.CloseWrite()
			done <- struct{}{}
		}(pair[0], pair[1])
	}
	<-done
	<-done
}

func pause() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	go reapForever()
	<-stop
}
