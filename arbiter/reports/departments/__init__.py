"""The report on departments: who asked, who was approved, who waits, and whose contacts stand in the way.

It counts decisions of a period as they stream by.
"""
