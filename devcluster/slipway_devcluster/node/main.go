// Command node is the only program of devcluster's own inside a node.
//
//	node init ADDRESS LISTENER READY RECORDED
//	    Process 1 of the node. Three files are inherited, by number. It relays connections from LISTENER, which was
//	    opened in the host's network, to ADDRESS in the node's, and collects orphans. It says "ready" on READY, and
//	    goes on only when it is answered on RECORDED: if whoever made it dies before having written down that it
//	    exists, it ends. When it dies, the kernel ends every process of the node.
//	node pause
//	    Process 1 of every pod sandbox: holds the pod's namespaces until it is told to go.
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
	if len(os.Args) == 6 && os.Args[1] == "init" {
		initNode(os.Args[2], inherited(os.Args[3]), inherited(os.Args[4]), inherited(os.Args[5]))
	} else if len(os.Args) == 2 && os.Args[1] == "pause" {
		pause()
	} else {
		fmt.Fprintln(os.Stderr, "usage: node init ADDRESS LISTENER READY RECORDED | node pause")
		os.Exit(2)
	}
}

func inherited(number string) *os.File {
	descriptor, err := strconv.Atoi(number)
	if err != nil {
		fmt.Fprintln(os.Stderr, "node: not the number of a file:", number)
		os.Exit(2)
	}
	return os.NewFile(uintptr(descriptor), number)
}

func initNode(target string, socket, ready, recorded *os.File) {
	listener, err := net.FileListener(socket)
	if err != nil {
		fmt.Fprintln(os.Stderr, "node init: this file is no listener:", err)
		os.Exit(1)
	}
	go relay(listener, target)
	fmt.Fprintln(ready, "ready")
	ready.Close()
	if count, _ := recorded.Read(make([]byte, 1)); count == 0 {
		os.Exit(1)
	}
	// A terminal's Ctrl-C and a closed session are not for the node: it ends by SIGKILL alone.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	reapForever()
}

// reapForever collects the processes that outlive their parents.
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

// join copies both ways; the kernel splices, so nothing passes through this program's memory.
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
