// A server of grpc-go at the address that it is given: the service of the interoperability tests, and the health service,
// which says NOT_SERVING after SIGUSR1 and SERVING after SIGUSR2.
package main

import (
	"net"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

func main() {
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer()
	testgrpc.RegisterTestServiceServer(server, interop.NewTestServer())
	state := health.NewServer()
	state.SetServingStatus("known", healthgrpc.HealthCheckResponse_SERVING)
	healthgrpc.RegisterHealthServer(server, state)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		for said := range signals {
			if said == syscall.SIGUSR1 {
				state.SetServingStatus("", healthgrpc.HealthCheckResponse_NOT_SERVING)
			} else {
				state.SetServingStatus("", healthgrpc.HealthCheckResponse_SERVING)
			}
		}
	}()
	panic(server.Serve(listener))
}
