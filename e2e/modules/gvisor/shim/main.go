// Command containerd-shim-runsc-v1 is gVisor's shim for containerd, started in a way that needs no CAP_SYS_RESOURCE.
//
// gVisor's own asks the kernel never to choose the shim when memory runs out, and gives up where that is not allowed, as in many
// containers. Everything but the start is gVisor's.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/shim"
	gvisor "gvisor.dev/gvisor/pkg/shim/v1"
	_ "gvisor.dev/gvisor/pkg/shim/v1/plugin"
)

const runtime = "io.containerd.runsc.v1"

func main() {
	shim.Run(context.Background(), manager{gvisor.NewShimManager(runtime)})
}

type manager struct {
	shim.Manager
}

// Start runs this program once more, as the server for container id, on a socket that is open before containerd is told of it.
func (manager) Start(ctx context.Context, id string, options shim.StartOpts) (shim.BootstrapParams, error) {
	params := shim.BootstrapParams{Version: 2, Protocol: "ttrpc"}
	namespace, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return params, err
	}
	program, err := os.Executable()
	if err != nil {
		return params, err
	}
	if params.Address, err = shim.SocketAddress(ctx, options.Address, id, options.Debug); err != nil {
		return params, err
	}
	// A socket of that name is left from a shim that died: nobody else has this id.
	if !shim.CanConnect(params.Address) {
		_ = shim.RemoveSocket(params.Address)
	}
	socket, err := shim.NewSocket(params.Address)
	if err != nil {
		return params, fmt.Errorf("open the socket of the shim: %w", err)
	}
	file, err := socket.File()
	if err != nil {
		return params, err
	}
	defer file.Close()

	server := exec.Command(program, "-namespace", namespace, "-address", options.Address, "-id", id)
	if options.Debug {
		server.Args = append(server.Args, "-debug")
	}
	server.Env = append(os.Environ(), "GOMAXPROCS=2")
	server.ExtraFiles = []*os.File{file}
	server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := server.Start(); err != nil {
		_ = shim.RemoveSocket(params.Address)
		return params, err
	}
	go func() { _ = server.Wait() }()
	// Read by whoever cleans up after a shim that died.
	if err := shim.WritePidFile("shim.pid", server.Process.Pid); err != nil {
		return params, err
	}
	return params, os.WriteFile("address", []byte(params.Address), 0o600)
}
