"""Exports: pictures in the forms that channels take, with a manifest of what they are."""
