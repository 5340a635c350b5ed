"""What ``scripts/bench`` measures: each module here but those with an underscore is one benchmark, run by its name.

A benchmark has ``main(words)``, words being the rest of the command line: prints its figures and returns what is
missed of what DESIGN.md promises, as sentences. They use the tests' kits for servers, mounts and the existing client.
"""
