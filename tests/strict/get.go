// SPDX-License-Identifier: MIT
// Fetches a page: get URL
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	for i := 0; i < 3; i++ {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		answer, err := client.Get(os.Args[1])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		page, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != 200 || len(page) == 0 {
			fmt.Fprintln(os.Stderr, answer.Status, len(page), err)
			os.Exit(1)
		}
	}
}
