"""How the stages become autoscaled Ray Serve replicas behind one HTTP endpoint."""
