"""Elle's method in our own words: version orders, dependency graphs and their cycles, for lists and registers.

After Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations" (VLDB 2020), and Adya's
classes of anomalies.
"""
