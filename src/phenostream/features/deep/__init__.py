"""Deep features: crops cut around objects, and what a model package sees in them.

`boxes` says where the crops lie, `gather` cuts them, `crops` scales their intensities, `embedding` asks the model.
"""
