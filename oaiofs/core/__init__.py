"""The pure heart: what an object is, how it is named, shown, merged and planned.

Nothing in here reads a clock, draws a random number, touches a file or a socket, logs, or imports a third-party
package: the same arguments always give the same result, so every decision of oaiofs can be tested as a function.
"""
