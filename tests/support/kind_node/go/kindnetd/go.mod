module flowcluster.dev/tests/kindnetd

go 1.24.0
