"""Settings of the pure core's tests."""

from hypothesis import HealthCheck, settings

# How long an example takes says more about what else the machine does; the tests that are about time measure it.
settings.register_profile("core", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("core")
