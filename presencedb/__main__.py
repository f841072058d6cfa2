from presencedb.cli.main import main

main()
