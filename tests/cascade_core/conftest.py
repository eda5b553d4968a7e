from hypothesis import HealthCheck, settings

# The first draw builds tables of all of Unicode, and test machines are busy: no timing here.
settings.register_profile(
    "busy", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy")
