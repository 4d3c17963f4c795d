import pbpk.runtime
