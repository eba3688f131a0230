module imapsync/bench

go 1.26.0

require (
	golang.org/x/text v0.43.0
	imapsync v0.0.0
)

require (
	github.com/DusanKasan/parsemail v1.2.0 // indirect
	golang.org/x/net v0.62.0 // indirect
)

replace imapsync => ../
