module statusworker/deploy/packages/tools

go 1.26.0
