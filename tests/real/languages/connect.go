// SPDX-License-Identifier: MIT
// A Go program that connects: it is refused, for it makes its own system calls.
package main

import "syscall"

func main() {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		server := syscall.SockaddrInet4{Port: 8080, Addr: [4]byte{127, 0, 0, 1}}
		err = syscall.Connect(fd, &server)
	}
	if err != nil {
		panic(err)
	}
}
